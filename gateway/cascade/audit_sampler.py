"""The random choice of audits, blind to every decision."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b

from gateway.core import Certification, Plan, Request, Route

STICKY_S = 60
_SCALE = float(1 << 64)


class StickySampler:
    """Draws by a keyed hash of the request's content and the current minute.

    Sticky, so that a retry does not draw again and no client can ask until the draw is another one.
    Copies of a text in a minute fall alike for that: they are one draw, and confidence/units.py
    counts them as one. The key keeps clients from choosing their audits.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key[:64]
        self._clock = clock

    def adopt(self, key: bytes) -> None:
        """Draw by another key from now on: machines that share their evidence draw by one."""
        self._key = key[:64]

    def sample(
        self, request: Request, plan: Plan, certification: Certification, route: Route
    ) -> tuple[bool, float]:
        """Return whether `request` is held out as evidence, and with which probability.

        A request that no certificate could serve is evidence for none. A near copy on probation is
        always held out.
        """
        if not can_be_evidence(request, plan):
            return False, 0.0
        if route.is_on_probation:
            return True, 1.0
        share = _audit_share(plan, certification, self._clock(), is_variant=route.is_variant)
        digest = blake2b(digest_size=8, key=self._key)
        digest.update(b"%d %b " % (self._clock() // STICKY_S, request.template.encode()))
        digest.update(request.text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest.digest()) / _SCALE < share, share


def can_be_evidence(request: Request, plan: Plan) -> bool:
    """Whether a request belongs to the traffic that certificates speak of: served, kept, and audited."""
    is_kept = request.may_harvest and plan.may_harvest
    return request.mode == "auto" and is_kept and not is_stored_by_teacher(request, plan)


def is_stored_by_teacher(request: Request, plan: Plan) -> bool:
    """Whether the client may ask the teacher for this answer later: a local one is not there then."""
    return request.is_stored_by_default and not plan.may_serve_stored


def _audit_share(plan: Plan, certification: Certification, now: float, *, is_variant: bool) -> float:
    """Return the share of such requests that is audited: what the neediest certificate needs.

    Near copies and all others have certificates apart, and a seldom copy whose evidence grows slowly must not
    keep the share of all others high. Which texts were learnt is not asked: the draw is blind to drafts.
    """
    in_force = [each for each in certification.certificates if each.is_in_force(now)]
    in_force = [each for each in in_force if (each.stratum == "variant") is is_variant] or in_force
    if certification.version is None or not in_force:
        # What imported rows taught has lessons enough and asks for more evidence, which costs nothing here.
        untested = [one for one in certification.certificates if one.stage == "shadow" and not one.attempts]
        asked = max([plan.shadow_audit_share, *(one.renewal_share for one in untested)])
        return asked if plan.shadow_audit_share else 0.0
    if plan.audit_share == 0.0:
        return 0.0
    is_settled = all(each.is_settled and not each.is_suspect for each in in_force)
    least = plan.audit_share if is_settled else plan.settling_audit_share
    most = max(least, plan.shadow_audit_share)
    return min(most, max([least, *(each.renewal_share for each in in_force)]))
