"""What the workers of a machine counted, and what only the stores know, as one set of metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from gateway.telemetry.shared_sums import SumFiles

# The workers show their sums twice a second; one that is stopped is not waited for.
LONGEST_WAIT_S = 2.0


class AllWorkers(Collector):
    """The sums over all workers, as a registry takes them."""

    def __init__(self, sums: SumFiles) -> None:
        self._sums = sums

    def collect(self) -> Iterable[Metric]:
        """Return every family."""
        return self._sums.add_all()

    def describe(self) -> Iterable[Metric]:
        """Describe nothing, so that registering reads no file."""
        return []


class MachineMetrics:
    """Metrics as the admin plane shows them; every method may block."""

    def __init__(self, sums: SumFiles, collectors: Sequence[Collector]) -> None:
        self._sums = sums
        self._collectors = collectors

    def render_text(self) -> bytes:
        """Return everything in Prometheus' text format, with all that was counted before the call."""
        self._sums.wait_until_newer(time.monotonic(), LONGEST_WAIT_S)
        registry = CollectorRegistry()
        registry.register(AllWorkers(self._sums))
        for collector in self._collectors:
            registry.register(collector)
        return generate_latest(registry)

    def read_samples(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Return labels and value of each sample that the workers counted, by the sample's name."""
        self._sums.wait_until_newer(time.monotonic(), LONGEST_WAIT_S)
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for metric in self._sums.add_all():
            for sample in metric.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found
