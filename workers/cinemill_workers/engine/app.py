"""The Celery application: how children are woken, and supervised.

A message says no more than "there may be work", to whichever child is idle: it goes on until nothing may start. What the
work is, whose turn it is, who holds it and what came of it stands in the ledger, so that a message is forgotten as soon
as it is received, and may be lost, late or repeated without harm.
"""

from __future__ import annotations

import ssl
from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue

from cinemill_workers.internals import safe_loader
from cinemill_workers.ledger import connection  # noqa: F401  changes how errors of the server are read
from cinemill_workers.settings import settings

QUEUE = "cinemill.work"
"""The one queue of all workers."""


def _queue() -> Queue:
    return Queue(QUEUE, Exchange("cinemill"), routing_key=QUEUE, no_ack=True)  # type: ignore[no-untyped-call]


def _configuration() -> dict[str, Any]:
    chosen = settings()
    return {
        "broker_url": chosen.celery_url,
        "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        if chosen.redis_url.startswith("rediss://")
        else None,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "socket_timeout": 20,
            "socket_keepalive": True,
            "health_check_interval": 30,
        },
        "task_queues": [_queue()],
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_send_sent_event": False,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_prefetch_count_reduction": False,
        "worker_lost_wait": 0.5,
        "worker_max_memory_per_child": chosen.child_memory_mb * 1024,
        "worker_hijack_root_logger": False,
        "worker_direct": True,
    }


app = Celery("cinemill", loader=safe_loader(), include=["cinemill_workers.engine.tasks"])
app.config_from_object(_configuration())
