"""Prometheus metrics, read from the ledger whenever they are asked for; needs the extra ``metrics``."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cinemill_workers.engine.app import QUEUE
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import ITEM_STATES

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 30.0


class LedgerCollector(Collector):
    """Sums over all jobs, the counters over forgotten ones too; no job names, no paths."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of this moment."""
        jobs, totals = self._ledger.jobs(), self._ledger.totals()
        items = GaugeMetricFamily("cinemill_items", "Instances by state.", labels=["state"])
        for state in ITEM_STATES:
            items.add_metric([state], sum(job.counts[state] for job in jobs))
        yield items
        states = GaugeMetricFamily("cinemill_jobs", "Jobs by state.", labels=["state"])
        for state, count in sorted(Counter(job.state for job in jobs).items()):
            states.add_metric([state], count)
        yield states
        for name, text, counter in (
            ("source_bytes", "Bytes of the sources of settled instances.", "bytes_in"),
            ("output_bytes", "Bytes of the outputs.", "bytes_out"),
            ("pixel_bytes", "Uncompressed bytes of transcoded pixels.", "pixel_bytes"),
            ("retries", "Attempts after the first.", "retries"),
        ):
            yield CounterMetricFamily(f"cinemill_{name}", text, value=totals[counter])
        yield GaugeMetricFamily(
            "cinemill_queue_messages",
            "Messages that wait for an idle child.",
            value=self._ledger.queue_length(QUEUE),
        )
        workers = len(self._ledger.workers())
        yield GaugeMetricFamily(
            "cinemill_workers", "Workers that gave a sign of life within a minute.", value=workers
        )


def serve(ledger: Ledger, address: str, port: int) -> None:
    """Answer scrapes on a port, in a thread, as soon as no other worker of this machine does: all say the same.

    Parameters
    ----------
    ledger
        Where the figures come from.
    address
        The address to listen on.
    port
        The port to listen on.
    """
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger))

    def listen() -> None:
        while True:
            try:
                start_http_server(port, addr=address, registry=registry)
            except OSError as error:
                logger.warning("the metrics can't be served yet: %s", error.strerror)
                time.sleep(AGAIN_SECONDS)
            else:
                return

    threading.Thread(target=listen, name="metrics", daemon=True).start()
