"""What a gateway key lets its holder do, and how much of it."""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache

import msgspec


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The policies, models and paths that a caller may use; an empty list allows all."""

    policies: tuple[str, ...] = ()
    """Names of policies; the others are skipped for this caller."""
    models: tuple[str, ...] = ()
    """Globs over the request's model."""
    paths: tuple[str, ...] = ()
    """Globs over the request's path, such as `/v1/chat/*`; `*` matches slashes too."""
    may_harvest: bool = True
    """Whether anything of the caller's requests may be kept; a policy and each request may only say less."""
    keep_days: float | None = None
    """How long it may be kept at most; None: as long as policy and settings say."""

    def allows_policy(self, name: str) -> bool:
        """Return whether the policy `name` may apply to the caller."""
        return not self.policies or name in self.policies

    def allows_model(self, model: str) -> bool:
        """Return whether the caller may ask for `model`."""
        return not self.models or _compile_globs(self.models).match(model) is not None

    def allows_path(self, path: str) -> bool:
        """Return whether the caller may use `path`."""
        return not self.paths or _compile_globs(self.paths).match(path) is not None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a key's holder may use, over all workers of a machine; None for no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    usd_per_day: float | None = None
    """Per UTC day, as `usd_per_month` is per UTC month."""
    usd_per_month: float | None = None
    warn_share: float = 0.8
    """The share of a budget at which a warning is logged."""


# As many keys as a machine may have; two keys with the same globs share an entry.
@lru_cache(maxsize=4096)
def _compile_globs(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs))
