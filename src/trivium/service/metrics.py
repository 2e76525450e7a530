"""What Prometheus may read: requests, batches, the queue, the graph, the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics(Collector):
    """A registry of its own, so that several services can stand in one process.

    Args:
        read: figures that others keep, of queue and graph, when they are asked for: name, help, value; a name in
            ``_total`` is a counter.
    """

    def __init__(self, read: Callable[[], list[tuple[str, str, float]]]) -> None:
        self.read = read
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "trivium_requests", "Requests answered.", ["path", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "trivium_request_seconds", "Time to answer.", ["path"], registry=self.registry, buckets=SECONDS
        )
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        for name, text, value in self.read():
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield family(name, text, value)
