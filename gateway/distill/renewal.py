"""Certificates over time: which to test again, which to keep, which have lapsed."""

from __future__ import annotations

import time

import msgspec

from gateway.confidence.spending import ATTEMPTS_IN_FORCE, has_lapsed
from gateway.confidence.units import DAY_S
from gateway.core import Certificate, Certification

_GROWN = 1.5
"""Times the audits of a certificate that make a looser threshold likely enough to try for it."""
_OLD_SHARE = 0.5
"""Share of its days after which a certificate is renewed: half of them are left for a second try."""
_WARNED_SHARE = 0.25
"""Share of its days before it lapses in which status reports say so."""


def is_renewal_due(certification: Certification, held_out: int, now: float) -> bool:
    """Whether the version that drafts should be tested again, with `held_out` rows of the task.

    Because a certificate is getting old, its threshold is known to be too strict, or another
    stratum's alarm made it suspect.
    """
    tested = sum(each.audits for each in certification.certificates)
    has_more = held_out >= _GROWN * max(tested, 1)
    for each in certification.certificates:
        if each.stage != "live":
            continue
        is_old = now >= each.expires_at - each.target.days * DAY_S * _OLD_SHARE
        if is_old or (has_more and (not each.is_settled or each.is_suspect)):
            return True
    return False


def must_renew(certification: Certification) -> bool:
    """Whether the next attempt must renew what is in force, since a failed one would end it."""
    return any(
        each.stage == "live" and each.attempts - each.issued_at_attempt >= ATTEMPTS_IN_FORCE - 1
        for each in certification.certificates
    )


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
    ours = [each for each in certification.certificates if each.target == strictest]
    audits = sum(each.audits for each in ours)
    served = sum(each.audits * each.coverage for each in ours if each.is_in_force(now))
    return served / audits if audits else 0.0


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
