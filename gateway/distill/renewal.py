"""Certificates over time: which to test again, which to keep, which have lapsed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import msgspec

from gateway.confidence.judging import Evidence, evidence_since
from gateway.confidence.sample_size import audits_to_settle
from gateway.confidence.spending import ATTEMPTS_IN_FORCE, has_lapsed
from gateway.confidence.units import DAY_S
from gateway.confidence.window import equal_propensity
from gateway.core import Certificate, Certification, RiskTarget
from gateway.distill.base import Event
from gateway.harvest.base import Row
from gateway.store.certifications import CertificationStore

ENOUGH_EVIDENCE = 4
"""Times what settles a certificate: the newest so many audits are scored. More would loosen nothing,
and a decoder drafts ten per second."""
_GROWN = 1.5
"""Times the audits of a certificate that make a looser threshold likely enough to try for it."""
_LITTLE_LEFT = 0.05
"""Share of the traffic below the threshold; settling audits cost twice as much."""
_OLD_SHARE = 0.5
"""Share of its days after which a certificate is renewed: half of them are left for a second try."""
_FRESH = 0.1
"""Share of a window that must be new before a renewal is considered again: its evidence is drafted anew."""
_WARNED_SHARE = 0.25
"""Share of its days before it lapses in which status reports say so."""


def is_renewal_due(certification: Certification, units: int, now: float) -> bool:
    """Whether the version that drafts should be tested again, with `units` distinct texts in today's window.

    Because a certificate is getting old, its threshold is known to be too strict, another stratum's
    alarm made it suspect, or the next attempt must renew it.
    """
    for each in certification.certificates:
        if each.stage != "live":
            continue
        tested = sum(one.audits for one in certification.certificates if one.target == each.target)
        has_more = units >= _GROWN * max(tested, 1)
        is_wanted = not each.is_settled or each.is_suspect or is_last_try(each)
        if is_old(each, now) or (has_more and is_wanted):
            return True
    return False


def asks_anew(
    certification: Certification, targets: Sequence[RiskTarget], asked: Sequence[RiskTarget]
) -> bool:
    """Whether policies ask for what was never tested, or no longer for what imported rows certify."""
    known = {each.target for each in certification.certificates}
    imported = {target for target in known if target.evidence == "imported"}
    return bool(set(targets) - known or imported - set(asked))


def may_renew(
    certification: Certification, evidence: Sequence[Row], came: int, tried_at: int | None, now: float
) -> bool:
    """Whether a renewal is due and `came` held-out rows, after `tried_at` at the last try, are worth it."""
    units = count_units(certification, evidence, now)
    fresh = came - (-units if tried_at is None else tried_at)
    return fresh >= _FRESH * units and is_renewal_due(certification, units, now)


def most_evidence(target: RiskTarget) -> int:
    """Return how many of the newest audits a test for `target` looks at."""
    return ENOUGH_EVIDENCE * audits_to_settle(target.alpha, target.delta)


def count_units(certification: Certification, evidence: Sequence[Row], now: float) -> int:
    """Return how many distinct texts of `evidence` (oldest first) today's windows hold, at most."""
    windows = [
        equal_propensity(evidence, evidence_since(each, now), most_evidence(each.target)).rows
        for each in certification.certificates
        if each.stage == "live"
    ]
    return max((len({row.text for row in window}) for window in windows), default=0)


def is_old(certificate: Certificate, now: float) -> bool:
    """Whether a certificate in force should be renewed before its days are over."""
    return now >= certificate.expires_at - certificate.target.days * DAY_S * _OLD_SHARE


def is_settled(certificate: Certificate, evidence: Evidence) -> bool:
    """Whether more audits than usual would no longer pay for a certificate in force.

    There is enough evidence for a good specialist to prove itself, or so little is left to the teacher
    that a looser threshold could not save what the audits cost.
    """
    assert certificate.threshold is not None
    accepted = sum(score >= certificate.threshold for score in evidence.scores)
    has_enough = accepted >= audits_to_settle(certificate.target.alpha, certificate.target.delta)
    return has_enough or certificate.coverage >= 1.0 - _LITTLE_LEFT


def is_last_try(certificate: Certificate) -> bool:
    """Whether the next attempt must renew what is in force, since a failed one would end it."""
    spent = certificate.attempts - certificate.issued_at_attempt
    return certificate.stage == "live" and spent >= ATTEMPTS_IN_FORCE - 1


def warn_of_lapse(certificate: Certificate, now: float) -> Certificate:
    """Return `certificate`, with the date in its note when it will soon lapse."""
    left_s = certificate.expires_at - now
    if certificate.stage != "live" or left_s > certificate.target.days * DAY_S * _WARNED_SHARE:
        return certificate
    date = time.strftime("%Y-%m-%d", time.gmtime(certificate.expires_at))
    note = f"lapses on {date} unless {certificate.audits_missing or 'more'} audits renew it"
    return msgspec.structs.replace(certificate, note=note)


def expected_share(certification: Certification, now: float) -> float:
    """Return the share of the audited requests that would be served, at the strictest target."""
    strictest = min((each.target for each in certification.certificates), default=None)
    return _share_at(certification, strictest, now)


def serves_no_more(new: Certification, old: Certification, now: float, price: float = 1.0) -> bool:
    """Whether `new` would serve at most `price` times what `old` does, while that serves anything.

    All targets count alike: which of the policies has most of the traffic is not known, and at the strictest
    nothing may be served at all.
    """
    targets = {each.target for one in (new, old) for each in one.certificates}
    now_served, then_served = (sum(_share_at(one, target, now) for target in targets) for one in (old, new))
    return now_served > 0.0 and then_served <= price * now_served


def _share_at(certification: Certification, target: RiskTarget | None, now: float) -> float:
    ours = [each for each in certification.certificates if each.target == target]
    audits = sum(each.audits for each in ours)
    served = sum(each.audits * each.coverage for each in ours if each.is_in_force(now))
    return served / audits if audits else 0.0


def served_from(certification: Certification) -> float:
    """Return since when a version serves, so that the teacher gets what it leaves; inf: none does."""
    live = (each.watched_from for each in certification.certificates if each.stage == "live")
    return min(live, default=math.inf)


def with_attempts_of(kept: Certification, tested: Certification, now: float) -> Certification:
    """Return `kept` with the attempts that a test of another version spent, lapsed where it must."""
    certificates = []
    for each in kept.certificates:
        attempts = tested.find_certificate(each.stratum, each.target).attempts
        spent = msgspec.structs.replace(each, attempts=max(attempts, each.attempts))
        certificates.append(lapse_if_due(spent, now))
    return msgspec.structs.replace(
        kept, certificates=tuple(certificates), judged_version=tested.judged_version
    )


def lapse_if_due(certificate: Certificate, now: float) -> Certificate:
    """Return `certificate`, back in shadow if its days are over or two attempts did not renew it."""
    if certificate.stage != "live":
        return certificate
    if now >= certificate.expires_at:
        why = "lapsed: its evidence is too old, and there were too few audits to renew it"
    elif has_lapsed(certificate.issued_at_attempt, certificate.attempts):
        why = "lapsed: two later tests did not renew it"
    else:
        return certificate
    return msgspec.structs.replace(certificate, stage="shadow", threshold=None, note=why)


def keep_dates(certifications: CertificationStore, old: Certification, now: float) -> Iterator[Event]:
    """Let certificates lapse when their days are over, and warn before; yield what lapsed."""
    certificates = tuple(warn_of_lapse(lapse_if_due(each, now), now) for each in old.certificates)
    if certificates == old.certificates:
        return
    is_put = certifications.put_if(old.epoch, msgspec.structs.replace(old, certificates=certificates))
    lapsed = [
        each.note
        for each, before in zip(certificates, old.certificates, strict=True)
        if each.stage != before.stage
    ]
    if is_put and lapsed:
        yield Event(task=old.task, kind="lapsed", version=old.version, detail=lapsed[0])
