"""Certificates as metrics: per route, what its specialist may do and what it still lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import get_args

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.core import Certificate, Certification, Stage

# A scrape must stay small, whatever the number of tasks; those that serve come first.
MAX_CERTIFICATES = 400
_LABELS = ("route", "stratum", "target")

ListCertifications = Callable[[], Iterable[Certification]]


class Certificates(Collector):
    """Reads the certificates at each collection; they are the same in every worker.

    A number that does not exist (no threshold, audits missing unknown) has no sample.
    """

    def __init__(self, list_certifications: ListCertifications) -> None:
        self._list_certifications = list_certifications

    def collect(self) -> Iterator[Metric]:
        """Yield the families; all of one scrape show the same moment."""
        pairs = [(one, each) for one in self._list_certifications() for each in one.certificates]
        pairs.sort(key=lambda pair: pair[1].stage != "live")
        pairs = pairs[:MAX_CERTIFICATES]
        for name, text, read in _NUMBERS:
            family = GaugeMetricFamily(f"stepdown_certificate_{name}", text, labels=_LABELS)
            for task, certificate in pairs:
                if (value := read(task, certificate)) is not None:
                    family.add_metric(_label_values(task, certificate), value)
            yield family
        yield _stage_family(pairs)

    def describe(self) -> Iterable[Metric]:
        """Describe nothing, so that registering does not read the certificates."""
        return []


def _label_values(task: Certification, certificate: Certificate) -> tuple[str, str, str]:
    target = certificate.target
    return task.task, certificate.stratum, f"{target.alpha:g}/{target.delta:g}{target.manner}"


def _stage_family(pairs: Sequence[tuple[Certification, Certificate]]) -> Metric:
    text = "1 for the current stage of a certificate, 0 for the others."
    family = GaugeMetricFamily("stepdown_certificate_stage", text, labels=(*_LABELS, "stage"))
    for task, certificate in pairs:
        for stage in get_args(Stage):
            values = (*_label_values(task, certificate), stage)
            family.add_metric(values, float(certificate.stage == stage))
    return family


_NUMBERS: tuple[tuple[str, str, Callable[[Certification, Certificate], float | None]], ...] = (
    (
        "alpha",
        "Largest share of served answers that may disagree with the teacher.",
        lambda _, one: one.target.alpha,
    ),
    ("delta", "Probability that the certificate is wrong.", lambda _, one: one.target.delta),
    ("threshold", "Score from which drafts are served.", lambda _, one: one.threshold),
    ("coverage", "Share of requests that pass the threshold.", lambda _, one: one.coverage),
    ("version", "Version of the specialist.", lambda task, _: task.version),
    ("audits", "Audits that the certificate rests on.", lambda _, one: one.audits),
    ("audits_missing", "Audits that a certificate still needs.", lambda _, one: one.audits_missing),
    ("expires_at", "When it lapses, unix seconds.", lambda _, one: one.expires_at or None),
    ("epoch", "Alarms of the task so far.", lambda task, _: task.epoch),
)
