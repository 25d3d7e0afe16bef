"""The identity of a model on a server: what the server says of it, and how it completes one fixed prompt."""

from __future__ import annotations

from typing import Any

import msgspec

PROBE = ({"role": "user", "content": "Count from one to five, then name three colors."},)
PROBE_TOKENS = 8

_CHANGING = frozenset({"created", "permission", "id", "object"})
"""Fields of a listed model that vary by themselves: vLLM's `created` is the time of asking."""
_OF_PROPS = ("build_info", "model_path")
_NOISE = 0.5
"""Nats by which the same weights may differ: batches and kernels move a logprob by a few hundredths,
other weights move one of eight by more than this nearly always."""

_NEAR_TIE = -0.4
"""Below it (p = 0.67) the runner-up may be so close that noise decides between the two."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it was when a version was validated on it.

    `reported` holds what the server says, each value as JSON; `probe` the tokens of the fixed prompt's
    completion and their logprobs, empty if it was not asked.
    """

    model: str
    reported: dict[str, str]
    probe: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        said = [
            self.reported[name].strip('"')
            for name in ("version", "build_info", "root")
            if name in self.reported
        ]
        return f"{self.model} ({', '.join(said)})" if said else self.model


def collect_reports(
    model: str, listing: object, version: object = None, props: object = None
) -> dict[str, str]:
    """Return what lasts of a server's `/models`, vLLM's `/version` and llama.cpp's `/props`."""
    found: dict[str, Any] = {}
    entries = listing.get("data") if isinstance(listing, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("id") == model:
            found |= {name: value for name, value in entry.items() if name not in _CHANGING}
            found["served"] = True
    if isinstance(version, dict) and "version" in version:
        found["version"] = version["version"]
    if isinstance(props, dict):
        found |= {name: props[name] for name in _OF_PROPS if name in props}
    return {name: msgspec.json.encode(value, order="deterministic").decode() for name, value in found.items()}


def describe_difference(certified: Identity, now: Identity) -> str:
    """Return how the model of `now` differs from the `certified` one; empty if it is the same."""
    if certified.model != now.model:
        return f"the engine's model is {now.model!r}, it was {certified.model!r}"
    names = sorted(certified.reported.keys() | now.reported.keys())
    changed = [name for name in names if certified.reported.get(name) != now.reported.get(name)]
    if changed:
        name = changed[0]
        was, found = certified.reported.get(name, "absent"), now.reported.get(name, "absent")
        return f"{name} of {now.model!r} is {found}, it was {was}"
    if certified.probe and now.probe and _differ(certified.probe, now.probe):
        return f"{now.model!r} completes a fixed prompt otherwise: it has other weights"
    return ""


def _differ(certified: tuple[tuple[str, float], ...], now: tuple[tuple[str, float], ...]) -> bool:
    """Whether two completions cannot be of the same weights; after a near tie they may part."""
    for (token, logprob), (other, other_logprob) in zip(certified, now, strict=False):
        if abs(logprob - other_logprob) > _NOISE:
            return True
        if token != other:
            return max(logprob, other_logprob) > _NEAR_TIE
    return False
