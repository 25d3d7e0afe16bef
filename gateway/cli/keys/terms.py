"""The terms of a key as options of a command: all of them for a new key, some to change those of one."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gateway.cli import read_number, read_whole

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.key_tables import KeyTerms
    from gateway.store.keys import KeyFacts

_Terms = TypeVar("_Terms", bound=msgspec.Struct)
_NAMES = ("policy", "model", "path")


def add_term_options(parser: argparse.ArgumentParser, *, is_change: bool) -> None:
    """Declare them; of a change only those that are given are in its arguments."""
    # A new key has what Grant and Limits say.
    default = argparse.SUPPRESS if is_change else None
    lists: Any = argparse.SUPPRESS if is_change else []
    everything = "; 'all' lifts it" if is_change else ""
    for name, text in zip(
        _NAMES,
        (
            "only these policies apply, and all that forbid",
            "only models like this glob",
            "only paths like this",
        ),
        strict=True,
    ):
        flags = (f"--{name}", f"--{'policies' if name == 'policy' else name + 's'}")
        parser.add_argument(*flags, action="append", default=lists, help=f"{text}; repeatable{everything}")
    parser.add_argument(
        "--expires", metavar="WHEN", default=default, help="after a span (90d) or at a UTC day (2027-01-31)"
    )
    _add_rights(parser, is_change=is_change)
    for name, read, metavar, unit in (
        ("keep-days", _days, "DAYS", "nothing of its holder's requests is kept for longer"),
        ("requests-per-minute", _whole, "N", None),
        ("tokens-per-minute", _whole, "N", None),
        ("concurrent-requests", _whole, "N", None),
        ("usd-per-day", _dollars, "USD", "per UTC day"),
        ("usd-per-month", _dollars, "USD", "per UTC month"),
    ):
        kind = _or_none(read) if is_change else read
        parser.add_argument(f"--{name}", type=kind, metavar=metavar, default=default, help=unit)
    parser.add_argument(
        "--warn-share",
        type=_share,
        default=default if is_change else 0.8,
        metavar="SHARE",
        help="of a budget, for a warning (0.8)",
    )


def read_terms(settings: Settings, arguments: argparse.Namespace, before: KeyTerms) -> KeyTerms:
    """Return `before` with the terms that are given. Raises ConfigError for what no key can have."""
    given = vars(arguments)
    if (ends := given.get("expires")) is not None:
        given = {**given, "expires_at": _read_end(ends)}
    lists = {name: _split(f"--{name}", given[name]) for name in _NAMES if name in given}
    _check_names(settings, lists)
    grant = {"policies": lists.get("policy"), "models": lists.get("model"), "paths": lists.get("path")}
    changed = {**given, **{name: value for name, value in grant.items() if value is not None}}
    return _replace(
        _replace(before, changed),
        {"grant": _replace(before.grant, changed), "limits": _replace(before.limits, changed)},
    )


def terms_of(key: KeyFacts) -> KeyTerms:
    """Return the terms of a key."""
    from gateway.store.key_tables import KeyTerms

    return KeyTerms(**{name: getattr(key, name) for name in KeyTerms.__struct_fields__})


def describe_change(before: KeyTerms, after: KeyTerms) -> dict[str, str]:
    """Return what is different, as `before -> after` by the name of the term; empty if nothing is."""
    old, new = ({**_flat(terms), **_flat(terms.grant), **_flat(terms.limits)} for terms in (before, after))
    return {name: f"{old[name]} -> {new[name]}" for name in new if old[name] != new[name]}


def _add_rights(parser: argparse.ArgumentParser, *, is_change: bool) -> None:
    rights = (
        (("--trusted",), "is_trusted", "its holder sees scores and audits"),
        (("--force-local", "--may-force-local"), "may_force_local",
         "its holder may demand local answers without a certificate"),
    )  # fmt: skip
    for flags, name, text in rights:
        if is_change:
            action: Any = argparse.BooleanOptionalAction
            parser.add_argument(*flags, dest=name, action=action, default=argparse.SUPPRESS, help=text)
        else:
            parser.add_argument(*flags, dest=name, action="store_true", help=text)
    no_harvest = "nothing of its holder's requests is kept or learnt from"
    default = argparse.SUPPRESS if is_change else True
    parser.add_argument(
        "--no-harvest", dest="may_harvest", action="store_false", default=default, help=no_harvest
    )
    if is_change:
        parser.add_argument(
            "--harvest", dest="may_harvest", action="store_true", default=default, help="as the policies say"
        )


def _replace(terms: _Terms, changed: dict[str, Any]) -> _Terms:
    known = {name: value for name, value in changed.items() if name in terms.__struct_fields__}
    return msgspec.structs.replace(terms, **known)


def _flat(terms: msgspec.Struct) -> dict[str, Any]:
    values = {
        name: getattr(terms, name) for name in terms.__struct_fields__ if name not in ("grant", "limits")
    }
    return {name: _render(name, value) for name, value in values.items()}


def _render(name: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return ",".join(value) or "all"
    if name == "expires_at":
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(value)) if value else "never"
    return "none" if value is None else value


def _read_end(text: str) -> float | None:
    from gateway.config.durations import parse_moment
    from gateway.errors import ConfigError

    if text in ("none", "never"):
        return None
    now = time.time()
    ends_at = parse_moment(text, now)
    if ends_at <= now:
        raise ConfigError(f"--expires {text} is over already")
    return ends_at


def _check_names(settings: Settings, lists: dict[str, tuple[str, ...]]) -> None:
    from gateway.errors import ConfigError
    from gateway.policy.load import load_policies

    if lost := [path for path in lists.get("path", ()) if not path.startswith(("/", "*", "[", "?"))]:
        raise ConfigError(f"--path {lost[0]} matches no path: they begin with a slash, as /v1/files*")
    named = lists.get("policy", ())
    if not named:
        return
    known = [policy.name for policy in load_policies(settings.policies.folder)]
    if unknown := [name for name in named if name not in known]:
        raise ConfigError(f"--policy: unknown policy '{unknown[0]}'; known: {', '.join(known)}")


def _split(flag: str, values: list[str]) -> tuple[str, ...]:
    """Return the parts between commas. Raises ConfigError if none are left: no flag at all means "all"."""
    from gateway.errors import ConfigError

    parts = tuple(part.strip() for value in values for part in value.split(",") if part.strip())
    if values and not parts:
        raise ConfigError(f"{flag} is empty; leave it out to allow all")
    return () if parts == ("all",) else parts


def _or_none(read: Callable[[str], float]) -> Callable[[str], float | None]:
    def read_limit(text: str) -> float | None:
        return None if text == "none" else read(text)

    return read_limit


def _whole(text: str) -> int:
    number = read_whole(text)
    if not 0 <= number <= 10**9:
        raise argparse.ArgumentTypeError("must be 0 to 1,000,000,000")
    return number


def _days(text: str) -> float:
    days = read_number(text)
    if not 0 < days <= 36_500:
        raise argparse.ArgumentTypeError("must be more than 0 and up to 36,500 days")
    return days


def _dollars(text: str) -> float:
    usd = read_number(text)
    if not 0 <= usd <= 1e9:
        raise argparse.ArgumentTypeError("must be 0 to 1,000,000,000 dollars")
    return usd


def _share(text: str) -> float:
    share = read_number(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("must be a share above 0 and up to 1")
    return share
