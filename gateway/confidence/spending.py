"""How delta is spent over attempts, so that the certificate in force keeps its promise.

A certificate is in force until a later attempt replaces it, and lapses after ATTEMPTS_IN_FORCE
attempts. So at any time it was issued by one of the last ATTEMPTS_IN_FORCE attempts, and the union
bound over their levels gives: the certificate in force is false with probability at most delta.
Promising that of all certificates ever issued costs 5 points of coverage more at the sixth attempt
(`python -m loadtests.certificate`).
"""

from __future__ import annotations

ATTEMPTS_IN_FORCE = 2

_SHARES = (0.7, 0.3)
"""Any two in a row sum to one. The first attempt has the fewest audits, so it gets the most."""


def delta_for_attempt(delta: float, attempt: int) -> float:
    """Return the level of the attempt numbered from 1."""
    return delta * _SHARES[(attempt - 1) % len(_SHARES)]


def has_lapsed(issued_at_attempt: int, attempts: int) -> bool:
    """Whether a certificate of one attempt is no longer covered by delta after `attempts` of them."""
    return attempts - issued_at_attempt >= ATTEMPTS_IN_FORCE
