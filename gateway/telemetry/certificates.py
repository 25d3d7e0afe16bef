"""Certificates as metrics: per route, what its specialist may do and what it still lacks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.core import Stage, Standing

# A scrape must stay small, whatever the number of tasks; those that serve come first.
MAX_ROUTES = 200
_LABELS = ("route", "lane")

ListStandings = Callable[[], Iterable[Standing]]


class Certificates(Collector):
    """Reads the standings at each collection; they are the same in every worker.

    A number that does not exist (no threshold, audits missing unknown) has no sample.
    """

    def __init__(self, list_standings: ListStandings) -> None:
        self._list_standings = list_standings

    def collect(self) -> Iterator[Metric]:
        """Yield the families; all of one scrape show the same moment."""
        ranked = sorted(self._list_standings(), key=lambda standing: not standing.serves)
        standings = list(itertools.islice(ranked, MAX_ROUTES))
        for name, text, read in _NUMBERS:
            family = GaugeMetricFamily(f"stepdown_certificate_{name}", text, labels=_LABELS)
            for standing in standings:
                if (value := read(standing)) is not None:
                    family.add_metric((standing.task, standing.lane), value)
            yield family
        yield _stage_family(standings)

    def describe(self) -> Iterable[Metric]:
        """Describe nothing, so that registering does not read the standings."""
        return []


def _stage_family(standings: list[Standing]) -> Metric:
    text = "1 for the current stage of a route, 0 for the others."
    family = GaugeMetricFamily("stepdown_certificate_stage", text, labels=(*_LABELS, "stage"))
    for standing in standings:
        for stage in get_args(Stage):
            family.add_metric((standing.task, standing.lane, stage), float(standing.stage == stage))
    return family


_NUMBERS: tuple[tuple[str, str, Callable[[Standing], float | None]], ...] = (
    ("alpha", "Largest share of served answers that may disagree with the teacher.", lambda one: one.alpha),
    ("delta", "Probability that the certificate is wrong.", lambda one: one.delta),
    ("threshold", "Score from which drafts are served.", lambda one: one.threshold),
    ("coverage", "Share of requests that pass the threshold.", lambda one: one.coverage),
    ("version", "Version of the specialist.", lambda one: one.version),
    ("audits", "Audits that the certificate rests on.", lambda one: one.audits),
    ("audits_missing", "Audits that a certificate still needs.", lambda one: one.audits_missing),
    ("epoch", "Alarms so far.", lambda one: one.epoch),
)
