"""Why no certificate is in force for a policy, as a short countable phrase."""

from __future__ import annotations

from gateway.core import ANY_TARGET, EXACT, NOT_CONFIRMED, Certification, RiskTarget


def uncertified_reason(certification: Certification, asked: RiskTarget, now: float) -> str:
    """Return why nothing is served to a policy that asks for `asked`; to be called when nothing is."""
    if certification.stage == "alarm":
        return "alarm"
    laxer = sorted(certification.in_force(ANY_TARGET, now), key=lambda each: each.target)
    if laxer:
        return _describe_gap(laxer[0].target, asked)
    has_lapsed = any(each.stage == "live" for each in certification.certificates)
    return "certificate lapsed" if has_lapsed else "not certified yet"


def _describe_gap(ours: RiskTarget, asked: RiskTarget) -> str:
    """Return what a certificate for `ours` does not promise of what a policy asks for."""
    if ours.agreement not in (asked.agreement, EXACT):
        return f"certified by {ours.agreement}, policy asks for {asked.agreement}"
    if ours.alpha > asked.alpha:
        return f"certified at {ours.alpha:.1%}, policy asks for {asked.alpha:.1%}"
    if ours.delta > asked.delta:
        return f"certified with delta {ours.delta:g}, policy asks for {asked.delta:g}"
    if ours.days > asked.days:
        return f"certified on {ours.days:g} days, policy asks for {asked.days:g}"
    return NOT_CONFIRMED
