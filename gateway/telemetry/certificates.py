"""Certificates as metrics: what each route's specialist is allowed, and what it lacks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.core import Stage, Standing

# A scrape must stay small, whatever the number of tasks; those which serve come first.
MAX_ROUTES = 200
_LABELS = ("route", "lane")


class Certificates(Collector):
    """Reads the standings whenever somebody collects; they are the same in every worker.

    A number which does not exist (no threshold, audits missing unknown) has no sample.
    """

    def __init__(self, standings: Callable[[], Iterable[Standing]]) -> None:
        self._standings = standings

    def collect(self) -> Iterator[Metric]:
        """Yield the families; those of one scrape speak of one moment."""
        ranked = sorted(self._standings(), key=lambda standing: not standing.serves)
        standings = list(itertools.islice(ranked, MAX_ROUTES))
        for name, text, read in _NUMBERS:
            family = GaugeMetricFamily(f"stepdown_certificate_{name}", text, labels=_LABELS)
            for standing in standings:
                if (value := read(standing)) is not None:
                    family.add_metric((standing.task, standing.lane), value)
            yield family
        yield _stages(standings)

    def describe(self) -> Iterable[Metric]:
        """Describe nothing, so that registering does not read the standings."""
        return []


def _stages(standings: list[Standing]) -> Metric:
    text = "1 for the stage in which a route is, 0 for the others."
    family = GaugeMetricFamily("stepdown_certificate_stage", text, labels=(*_LABELS, "stage"))
    for standing in standings:
        for stage in get_args(Stage):
            family.add_metric((standing.task, standing.lane, stage), float(standing.stage == stage))
    return family


_NUMBERS: tuple[tuple[str, str, Callable[[Standing], float | None]], ...] = (
    ("alpha", "Most of the served answers which may disagree with the teacher.", lambda one: one.alpha),
    ("delta", "Probability with which the certificate may be wrong.", lambda one: one.delta),
    ("threshold", "Score from which drafts are served.", lambda one: one.threshold),
    ("coverage", "Share of requests which pass the threshold.", lambda one: one.coverage),
    ("version", "Version of the specialist.", lambda one: one.version),
    ("audits", "Audits on which the certificate rests.", lambda one: one.audits),
    ("audits_missing", "Audits which a certificate still needs.", lambda one: one.audits_missing),
    ("epoch", "Alarms so far.", lambda one: one.epoch),
)
