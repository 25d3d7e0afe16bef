"""The teachers as the policies name them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.errors import ConfigError
from gateway.policy.schema import Policy


def check_teachers(policies: Iterable[Policy], known: Sequence[str]) -> None:
    """Raise ConfigError if a policy names a teacher that is not `known`, or names one twice."""
    for policy in policies:
        for name in policy.teachers or ():
            if name not in known:
                raise ConfigError(
                    f"policy '{policy.name}': teachers: unknown teacher '{name}'; known: {', '.join(known)}"
                )
        if policy.teachers and len(set(policy.teachers)) < len(policy.teachers):
            raise ConfigError(f"policy '{policy.name}': teachers: a teacher is named twice")
        for name in policy.weights:
            if name not in (policy.teachers or known):
                listed = ", ".join(policy.teachers or known)
                raise ConfigError(
                    f"policy '{policy.name}': weights: '{name}' is none of its teachers; these are: {listed}"
                )
        if policy.weights and not policy.teachers:
            raise ConfigError(f"policy '{policy.name}': weights need `teachers`: the first one teaches")


def teacher_terms(policy: Policy) -> dict[str, Any]:
    """Return the fields of a Plan that say which teachers are asked, and how patiently."""
    teachers = policy.teachers or ()
    return {
        "teachers": teachers,
        "weights": tuple(policy.weights.get(name, 0.0) for name in teachers) if policy.weights else (),
        "first_byte_s": policy.first_byte_timeout_s,
        "idle_s": policy.idle_timeout_s,
        "keepalive_s": policy.keepalive_s,
    }
