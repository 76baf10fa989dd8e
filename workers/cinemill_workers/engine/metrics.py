"""Prometheus metrics, read from the ledger whenever they are asked for; needs the extra ``metrics``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cinemill_workers.engine.app import queue_name
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import ITEM_STATES, PRIORITIES


class LedgerCollector(Collector):
    """Sums over all jobs the ledger knows; no job names, no paths."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of this moment."""
        jobs = self._ledger.jobs()
        items = GaugeMetricFamily("cinemill_items", "Instances by state.", labels=["state"])
        for state in ITEM_STATES:
            items.add_metric([state], sum(job.counts[state] for job in jobs))
        yield items
        states = GaugeMetricFamily("cinemill_jobs", "Jobs by state.", labels=["state"])
        for state, count in sorted(Counter(job.state for job in jobs).items()):
            states.add_metric([state], count)
        yield states
        for name, text, total in (
            ("source_bytes", "Bytes of the sources of settled instances.", sum(job.bytes_in for job in jobs)),
            ("output_bytes", "Bytes of the outputs.", sum(job.bytes_out for job in jobs)),
            ("pixel_bytes", "Uncompressed bytes of transcoded pixels.", sum(job.pixel_bytes for job in jobs)),
            ("retries", "Attempts after the first.", sum(job.retries for job in jobs)),
        ):
            yield CounterMetricFamily(f"cinemill_{name}", text, value=total)
        queue = GaugeMetricFamily(
            "cinemill_queue_messages", "Messages that wait in a queue.", labels=["priority"]
        )
        for priority in PRIORITIES:
            queue.add_metric([priority], self._ledger.queue_length(queue_name(priority)))
        yield queue
        workers = len(self._ledger.workers())
        yield GaugeMetricFamily(
            "cinemill_workers", "Workers that gave a sign of life within a minute.", value=workers
        )


def serve(ledger: Ledger, address: str, port: int) -> None:
    """Answer scrapes on a port, in a thread."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger))
    start_http_server(port, addr=address, registry=registry)
