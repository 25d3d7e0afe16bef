"""The coin which chooses audits, blind to every decision."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b

from gateway.core import Plan, Request, Standing

STICKY_S = 60
_SCALE = float(1 << 64)


class StickySampler:
    """Falls by the request's content and the minute: who asks the same again at once gets the same.

    Sticky, so that a retry does not draw again; for a minute only, because the certificate
    counts audits as independent draws, and a text which many send must be drawn in its turn,
    not for ever or never. The key keeps clients from choosing.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key[:64]
        self._clock = clock

    def sample(self, request: Request, plan: Plan, standing: Standing) -> tuple[bool, float]:
        """Return whether `request` is held out as evidence, and with which probability."""
        if request.mode == "local":
            return False, 0.0
        share = _share(plan, standing)
        digest = blake2b(digest_size=8, key=self._key)
        digest.update(b"%d %b " % (self._clock() // STICKY_S, request.template.encode()))
        digest.update(request.text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest.digest()) / _SCALE < share, share


def _share(plan: Plan, standing: Standing) -> float:
    if not standing.serves:
        return plan.shadow_audit_share
    return plan.audit_share if standing.is_settled else plan.settling_audit_share
