"""What had learnt a forgotten text, or stood on forgotten evidence, serves no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from gateway.core import Certificate, Certification
from gateway.errors import RegistryError
from gateway.harvest.removal import Selection
from gateway.registry.models import Registry
from gateway.store.state import State

WITHDRAWN = "withdrawn: a text that it had learnt was forgotten; the next version is trained without it"
BLOCKED = "blocked: evidence that it stood on was forgotten; it must be earned again from what is left"


def withdraw_versions(
    registry: Registry,
    state: State,
    task: str,
    is_forgotten: Callable[[int], bool],
    delete: Callable[[str, int], object],
    *,
    selection: Selection | None = None,
) -> Iterator[str]:
    """Withdraw and delete the versions of `task` that have learnt a forgotten text; yield their names.

    `is_forgotten` tells by its hash. `selection` also finds what was learnt from rows that the retention has
    removed. Hold `lock_learner` meanwhile.
    """
    for version in registry.versions(task):
        if not _may_have_learnt(registry.folder(task, version), is_forgotten, selection):
            continue
        _withdraw_version(state, task, version)
        delete(task, version)
        yield f"{task}/{version}"


def _may_have_learnt(folder: Path, is_forgotten: Callable[[int], bool], selection: Selection | None) -> bool:
    """Whether a version has learnt a forgotten text, or cannot say: a damaged file keeps nothing alive."""
    from gateway.distill.lesson_owners import has_lesson_of
    from gateway.specialists.learnt import read_learnt_texts

    try:
        if selection and has_lesson_of(folder, selection):
            return True
        return any(map(is_forgotten, read_learnt_texts(folder)))
    except RegistryError:
        return True


def block_certificates(state: State, task: str, times: Sequence[float]) -> bool:
    """Take back the certificates of `task` that stood on evidence of these times; return whether any did."""

    def block(old: Certification) -> Certification | None:
        certificates = tuple(
            _in_shadow(each, BLOCKED) if any(_stood_on(each, at) for at in times) else each
            for each in old.certificates
        )
        if certificates == old.certificates:
            return None
        # A new epoch: the learner starts anew, and what it is just writing comes too late.
        return msgspec.structs.replace(old, epoch=old.epoch + 1, certificates=certificates, note=BLOCKED)

    return _change_certification(state, task, block)


def _withdraw_version(state: State, task: str, version: int) -> None:
    def withdraw(old: Certification) -> Certification | None:
        return _withdrawn(old) if old.version == version else None

    _change_certification(state, task, withdraw)


def _change_certification(
    state: State, task: str, change: Callable[[Certification], Certification | None]
) -> bool:
    """Put what `change` makes of the certification as it is now; False if it makes None of it.

    Meanwhile the learner, an alarm or another machine may change it: what this process read is old then.
    """
    while True:
        state.certifications.refresh()
        old = state.certifications.of(task)
        new = change(old)
        if new is None:
            return False
        if state.certifications.put_if(old.epoch, new):
            _mark_as_no_alarm(state, old, new)
            return True


def _mark_as_no_alarm(state: State, old: Certification, new: Certification) -> None:
    """Acknowledge the new epoch, which operators would take for an alarm; a real one before it waits on."""
    state.interventions.refresh()
    if old.epoch == 0 or state.interventions.find_seen_alarm(old.task, old.epoch):
        state.interventions.acknowledge_alarm(new.task, new.epoch, f"no alarm: {new.note}")


def _stood_on(certificate: Certificate, at: float) -> bool:
    return certificate.stage == "live" and certificate.evidence_from <= at <= certificate.evidence_to


def _withdrawn(old: Certification) -> Certification:
    """Return the certification of a task without its version."""
    certificates = tuple(_in_shadow(each, WITHDRAWN) for each in old.certificates)
    return msgspec.structs.replace(
        old, version=None, deferral=None, epoch=old.epoch + 1, certificates=certificates, note=WITHDRAWN
    )


def _in_shadow(certificate: Certificate, note: str) -> Certificate:
    """Return `certificate`, which serves no more; what it has spent of delta stays spent."""
    return msgspec.structs.replace(certificate, stage="shadow", threshold=None, tentative=None, note=note)
