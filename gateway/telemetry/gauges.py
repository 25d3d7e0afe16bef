"""A gauge whose samples are read when a scrape asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

Samples = Iterable[tuple[Sequence[str], float]]


class ReadGauge(Collector):
    """Calls `read` at each collection: the values of the labels and the number, of each sample."""

    def __init__(self, name: str, text: str, labels: Sequence[str], read: Callable[[], Samples]) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield the family."""
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for values, number in self._read():
            family.add_metric(values, number)
        yield family

    def describe(self) -> Iterable[Metric]:
        """Describe nothing, so that registering reads nothing."""
        return []
