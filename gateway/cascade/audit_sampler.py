"""The random choice of audits, blind to every decision."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b

from gateway.core import Plan, Request, Standing

STICKY_S = 60
_SCALE = float(1 << 64)


class StickySampler:
    """Draws by a keyed hash of the request's content and the current minute.

    Sticky, so that a retry does not draw again. For a minute only, because the certificate
    counts audits as independent draws: a text that many clients send must be drawn now and
    then, not always or never. The key keeps clients from choosing their audits.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key[:64]
        self._clock = clock

    def sample(self, request: Request, plan: Plan, standing: Standing) -> tuple[bool, float]:
        """Return whether `request` is held out as evidence, and the probability of that."""
        if request.mode == "local":
            return False, 0.0
        share = _audit_share(plan, standing)
        digest = blake2b(digest_size=8, key=self._key)
        digest.update(b"%d %b " % (self._clock() // STICKY_S, request.template.encode()))
        digest.update(request.text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest.digest()) / _SCALE < share, share


def _audit_share(plan: Plan, standing: Standing) -> float:
    if not standing.serves:
        return plan.shadow_audit_share
    return plan.audit_share if standing.is_settled else plan.settling_audit_share
