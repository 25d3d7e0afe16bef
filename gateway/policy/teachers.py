"""The teachers as the policies name them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
