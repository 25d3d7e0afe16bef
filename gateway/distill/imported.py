"""Versions that imported rows taught: which these are, and when they are tested."""

from __future__ import annotations

from gateway.confidence.confirmation import audits_to_confirm
from gateway.core import Certificate, Certification
from gateway.registry.models import Registry
from gateway.store.imports import ImportLog

METRIC = "imported"
"""In the manifest of a version that imported rows taught for the most part: how many there were."""
CONFIRMING_SHARE = 1.0
"""Of the traffic that is audited until they are confirmed: more lessons would teach little, and the teacher
answers anyway."""
CONFIRM_EVERY = 10
"""Audits between two looks at whether there are enough to confirm what imported rows taught."""


def is_being_confirmed(certificate: Certificate) -> bool:
    """Whether live audits were looked at for the one hypothesis of a version, and did not decide yet."""
    is_waiting = certificate.stage == "shadow" and not certificate.attempts
    return is_waiting and certificate.renewal_share >= CONFIRMING_SHARE and certificate.accepted > 0


def has_fixed_population(certificate: Certificate) -> bool:
    """Whether an earlier look has chosen the forms and the novelty floor of what is being confirmed.

    The first look does that could have confirmed anything. Chosen anew at each look, the hypothesis would
    be another one each time, and delta would not be the price of all looks together.
    """
    least = audits_to_confirm(certificate.target.alpha, certificate.target.delta)
    return is_being_confirmed(certificate) and certificate.audits >= least


class ImportedLessons:
    """What the learner must know of imports."""

    def __init__(self, imports: ImportLog, registry: Registry) -> None:
        self._imports = imports
        self._registry = registry

    def metrics(self, task: str, training: int) -> dict[str, float]:
        """Return what a manifest says of a version that `training` rows of `task` taught."""
        imported = self._imports.count(task)
        return {METRIC: float(imported)} if imported and 2 * imported >= training else {}

    def awaits_confirmation(self, certification: Certification) -> bool:
        """Whether imported rows taught the version that drafts, and no test of it was made yet."""
        live = [each for each in certification.certificates if each.target.evidence == "live"]
        if certification.version is None or any(each.attempts or each.stage != "shadow" for each in live):
            return False
        if certification.version not in self._registry.versions(certification.task):
            return False
        return METRIC in self._registry.read(certification.task, certification.version).metrics
