"""Keys as `keys list` and `keys show` print them."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence

from gateway.config.durations import format_duration
from gateway.core import Grant
from gateway.policy.key_meters import KeyUse
from gateway.store.keys import KeyFacts

WIDTH = 80
_LABEL = 18


def format_row(key: KeyFacts, now: float) -> str:
    """Return the line of a key in the list."""
    state = key.state_at(now)
    state = "trusted" if state == "valid" and key.is_trusted else state
    owner = "" if key.tenant in (key.name, key.id) else f"  of {key.tenant}"
    ends = f"  until {_format_day(key.expires_at)}" if state != "revoked" and key.expires_at else ""
    line = f"{key.id}  {state:8}  {_format_day(key.created_at)}  {key.name}{owner}{ends}"
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def format_details(key: KeyFacts, now: float, uses: Sequence[KeyUse], secrets: int) -> list[str]:
    """Return the lines of `keys show`, each at most WIDTH wide."""
    grant = key.grant
    rights = [
        name
        for name, has_it in (("trusted", key.is_trusted), ("may force local", key.may_force_local))
        if has_it
    ]
    facts = [
        ("key", f"{key.id}, {key.state_at(now)}"),
        ("name", key.name),
        ("tenant", key.tenant),
        ("created", _format_day(key.created_at)),
        ("expires", _format_day(key.expires_at) if key.expires_at else "never"),
        ("secrets", "1" if secrets <= 1 else f"{secrets}: a rotation overlaps"),
        ("policies", ", ".join(grant.policies) or "all"),
        ("models", ", ".join(grant.models) or "all"),
        ("paths", ", ".join(grant.paths) or "all"),
        ("harvest", _describe_harvest(grant)),
        ("rights", ", ".join(rights) or "none beyond the policies'"),
    ]
    lines = [line for name, text in facts for line in _wrap(name, text)]
    if not uses:
        return [*lines, *_wrap("limits", "none")]
    return [*lines, *(line for use in uses for line in _wrap(use.name, _format_use(use)))]


def _describe_harvest(grant: Grant) -> str:
    if not grant.may_harvest:
        return "nothing is kept"
    return "as the policies say" + (f", {grant.keep_days:g} days at most" if grant.keep_days else "")


def _format_use(use: KeyUse) -> str:
    is_money = use.name.startswith("$")
    used, limit = (
        (_format_usd(use.used), _format_usd(use.limit))
        if is_money
        else (f"{use.used:,.0f}", f"{use.limit:,.0f}")
    )
    share = f" ({use.used / use.limit:.0%})" if use.limit else ""
    resets = f", resets in {format_duration(use.resets_s)}" if use.resets_s and use.used else ""
    return f"{used} of {limit} used{share}{resets}"


def _format_usd(usd: float) -> str:
    # A request may cost a hundredth of a cent: of a small limit that is something.
    return f"${usd:,.2f}" if usd >= 1 or round(usd, 2) == usd else f"${usd:,.4f}"


def _wrap(name: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"{name:{_LABEL}}  ", subsequent_indent=" " * (_LABEL + 2)
    )


def _format_day(at: float | None) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))
