"""The gate between a draft and the client: one rule for what is served, certified and audited."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from gateway.confidence.validity import invalid_reason
from gateway.core import (
    Certificate,
    Certification,
    Demands,
    Draft,
    Plan,
    Request,
    Route,
    Source,
    Verdict,
    stratum_of,
)

_CERTIFIED: dict[Source, str] = {"live": "certified", "imported": "certified on imported rows"}


def refusal_reason(draft: Draft, demands: Demands, form: str, certificate: Certificate) -> str:
    """Return why `certificate` does not let `draft` pass, as a short countable phrase; empty if it does.

    Serving, the drift alarm and the tests of a version all ask this function, so that what is
    served is what was certified and what is audited. It does not ask whether the certificate is in force.
    """
    if reason := invalid_reason(draft, demands) or certificate.exclusion(form, draft.similarity):
        return reason
    is_sure = certificate.threshold is not None and draft.score >= certificate.threshold
    return "" if is_sure else "unsure"


class Gate:
    """Lets a draft pass only under a certificate of its own version and stratum."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def judge_draft(
        self, draft: Draft, certification: Certification, request: Request, plan: Plan, route: Route
    ) -> Verdict:
        """Return whether `draft` may be served, with a short countable reason. Never raises.

        A caller that may force a local answer gets any valid one.
        """
        demands = request.demands
        if request.mode == "local" and request.may_force_local:
            reason = invalid_reason(draft, demands)
            return Verdict(not reason, reason or "local asked for")
        if draft.version != certification.version:
            return Verdict(False, "draft of another version")
        stratum = stratum_of(draft, is_variant=route.is_variant)
        certificate = certification.certificate_of(stratum, plan.target, self._clock())
        if certificate is None:
            return Verdict(False, invalid_reason(draft, demands) or f"{stratum} texts not certified")
        reason = refusal_reason(draft, demands, request.form, certificate)
        return Verdict(not reason, reason or _CERTIFIED[certificate.target.evidence], certificate.threshold)

    def would_pass(
        self, draft: Draft, certification: Certification, request: Request, plan: Plan, route: Route
    ) -> bool:
        """Return whether `draft` passes a certificate, in shadow at its tentative threshold."""
        stratum, now = stratum_of(draft, is_variant=route.is_variant), self._clock()
        for each in certification.certificates:
            if each.stratum != stratum or not each.meets(plan.target):
                continue
            bar = each.threshold if each.is_in_force(now) else each.tentative
            at_bar = msgspec.structs.replace(each, threshold=bar)
            if not refusal_reason(draft, request.demands, request.form, at_bar):
                return True
        return False
