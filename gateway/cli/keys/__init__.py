"""Create, list, show, rotate and revoke the keys that let clients in."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING

from gateway.cli import OK, add_watch

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.key_tables import KeyTerms
    from gateway.store.keys import KeyFacts, KeyStore
    from gateway.store.state import State


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_create(actions.add_parser("create", help="print a new key: only now, for only its hash is kept"))
    listing = actions.add_parser("list", help="list ids, names and states, never the keys themselves")
    add_watch(listing)
    show = actions.add_parser("show", help="what a key may do, its limits and what is used of them")
    add_watch(show)
    rotate = actions.add_parser("rotate", help="print a new secret for a key; the old one stays for a while")
    rotate.add_argument(
        "--overlap", default="24h", metavar="SPAN", help="how long the old secret stays valid (24h; 0s: not)"
    )
    revoke = actions.add_parser("revoke", help="refuse a key from now on, and end what it has under way")
    for action in (show, rotate, revoke):
        action.add_argument("key", help="the key's id or name, from `keys list`")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print JSON")


def _add_create(create: argparse.ArgumentParser) -> None:
    create.add_argument("--name", required=True, help="the holder of the key; one valid key per name")
    create.add_argument("--tenant", default="", help="the owner of its requests' data (its own: the name)")
    create.add_argument(
        "--policy",
        "--policies",
        action="append",
        default=[],
        help="only these policies apply, and all that forbid",
    )
    create.add_argument(
        "--model", "--models", action="append", default=[], help="only models like this glob; repeatable"
    )
    create.add_argument(
        "--path", "--paths", action="append", default=[], help="only paths like this glob; repeatable"
    )
    create.add_argument("--expires", metavar="WHEN", help="after a span (90d) or at a UTC day (2027-01-31)")
    create.add_argument("--trusted", action="store_true", help="its holder sees scores and audits")
    create.add_argument(
        "--force-local",
        "--may-force-local",
        action="store_true",
        help="its holder may demand local answers without a certificate",
    )
    create.add_argument(
        "--no-harvest", action="store_true", help="nothing of its holder's requests is kept or learnt from"
    )
    create.add_argument(
        "--keep-days", type=_days, metavar="DAYS", help="nothing of its holder's requests is kept for longer"
    )
    create.add_argument("--requests-per-minute", type=_whole, metavar="N")
    create.add_argument("--tokens-per-minute", type=_whole, metavar="N")
    create.add_argument("--concurrent-requests", type=_whole, metavar="N")
    create.add_argument("--usd-per-day", type=_dollars, metavar="USD", help="per UTC day")
    create.add_argument("--usd-per-month", type=_dollars, metavar="USD", help="per UTC month")
    create.add_argument(
        "--warn-share", type=_share, default=0.8, metavar="SHARE", help="of a budget, for a warning (0.8)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    from gateway.settings import read_settings
    from gateway.store.state import open_state

    settings = read_settings(os.environ)
    with open_state(settings.home) as state:
        if arguments.action == "create":
            return _create(state, settings, arguments)
        if arguments.action == "list":
            return _list(state.keys, arguments)
        if arguments.action == "show":
            return _show(state.keys, settings, arguments)
        return _rotate(state, arguments) if arguments.action == "rotate" else _revoke(state, arguments)


def _create(state: State, settings: Settings, arguments: argparse.Namespace) -> int:
    from gateway.store.audit_trail import name_local_actor

    terms = _read_terms(settings, arguments)
    with state.key_trail.transaction():
        key_id, secret = state.keys.create(arguments.name, tenant=arguments.tenant, terms=terms)
        state.key_trail.add(name_local_actor(), "keys create", key_id, name=arguments.name)
    print(json.dumps({"id": key_id, "key": secret}) if arguments.json else secret)
    if not settings.home.run_file.exists():
        print(f"made in {settings.home.folder}, from which no gateway runs now", file=sys.stderr)
    return OK


def _read_terms(settings: Settings, arguments: argparse.Namespace) -> KeyTerms:
    from gateway.config.durations import parse_moment
    from gateway.core import Grant, Limits
    from gateway.errors import ConfigError
    from gateway.store.key_tables import KeyTerms

    now = time.time()
    expires_at = parse_moment(arguments.expires, now) if arguments.expires is not None else None
    if expires_at is not None and expires_at <= now:
        raise ConfigError(f"--expires {arguments.expires} is over already")
    policies, models = _split("--policy", arguments.policy), _split("--model", arguments.model)
    paths = _split("--path", arguments.path)
    _check_policies(settings, policies)
    if lost := [path for path in paths if not path.startswith(("/", "*", "[", "?"))]:
        raise ConfigError(f"--path {lost[0]} matches no path: they begin with a slash, as /v1/files*")
    return KeyTerms(
        is_trusted=arguments.trusted,
        may_force_local=arguments.force_local,
        expires_at=expires_at,
        grant=Grant(
            policies=policies,
            models=models,
            paths=paths,
            may_harvest=not arguments.no_harvest,
            keep_days=arguments.keep_days,
        ),
        limits=Limits(
            requests_per_minute=arguments.requests_per_minute,
            tokens_per_minute=arguments.tokens_per_minute,
            concurrent_requests=arguments.concurrent_requests,
            usd_per_day=arguments.usd_per_day,
            usd_per_month=arguments.usd_per_month,
            warn_share=arguments.warn_share,
        ),
    )


def _check_policies(settings: Settings, named: tuple[str, ...]) -> None:
    from gateway.errors import ConfigError
    from gateway.policy.load import load_policies

    if not named:
        return
    known = [policy.name for policy in load_policies(settings.policies.folder)]
    if unknown := [name for name in named if name not in known]:
        raise ConfigError(f"--policy: unknown policy '{unknown[0]}'; known: {', '.join(known)}")


def _list(keys: KeyStore, arguments: argparse.Namespace) -> int:
    from gateway.cli.keys.formatting import describe_key, format_row

    now = time.time()
    if arguments.json:
        print(json.dumps([describe_key(key, now) for key in keys.all()]))
        return OK
    for key in keys.all():
        print(format_row(key, now))
    return OK


def _show(keys: KeyStore, settings: Settings, arguments: argparse.Namespace) -> int:
    from gateway.cli.keys.formatting import describe_key, format_details
    from gateway.policy.key_limits import KeyLimits
    from gateway.sharing.lease_keeper import open_lease_keeper
    from gateway.store.shared_counters import Counters

    key = _find(keys, arguments.key)
    counters = Counters(settings.home.counters if settings.home.counters.exists() else None, None)
    keeper = open_lease_keeper(settings.state, "", counters)
    uses = KeyLimits(counters, keeper=keeper).report_use(key)
    counters.close()
    now = time.time()
    if arguments.json:
        print(json.dumps(describe_key(key, now, uses, keys.count_secrets(key.id))))
    else:
        print("\n".join(format_details(key, now, uses, keys.count_secrets(key.id))))
    return OK


def _rotate(state: State, arguments: argparse.Namespace) -> int:
    from gateway.config.durations import parse_duration
    from gateway.store.audit_trail import name_local_actor

    key, overlap_s = _find(state.keys, arguments.key), parse_duration(arguments.overlap)
    with state.key_trail.transaction():
        secret = state.keys.rotate(key.id, overlap_s)
        state.key_trail.add(
            name_local_actor(), "keys rotate", key.id, name=key.name, overlap=arguments.overlap
        )
    print(json.dumps({"id": key.id, "key": secret}) if arguments.json else secret)
    return OK


def _revoke(state: State, arguments: argparse.Namespace) -> int:
    from gateway.errors import ConfigError
    from gateway.store.audit_trail import name_local_actor

    found = state.keys.find(arguments.key)
    # A key with unreadable terms is not found, and can be revoked all the same.
    key_id = found.id if found else arguments.key
    with state.key_trail.transaction():
        if not state.keys.revoke(key_id):
            raise ConfigError(f"no valid key has the id '{arguments.key}'; see `stepdown keys list`")
        state.key_trail.add(name_local_actor(), "keys revoke", key_id, name=found.name if found else "")
    said = f"revoked {key_id}; workers refuse it within a second"
    print(json.dumps({"id": key_id, "state": "revoked"}) if arguments.json else said)
    return OK


def _find(keys: KeyStore, id_or_name: str) -> KeyFacts:
    from gateway.errors import ConfigError

    key = keys.find(id_or_name)
    if key is None:
        raise ConfigError(f"no key has the id or name '{id_or_name}'; see `stepdown keys list`")
    return key


def _split(flag: str, values: list[str]) -> tuple[str, ...]:
    """Return the parts between commas. Raises ConfigError if none are left: no flag at all means "all"."""
    from gateway.errors import ConfigError

    parts = tuple(part.strip() for value in values for part in value.split(",") if part.strip())
    if values and not parts:
        raise ConfigError(f"{flag} is empty; leave it out to allow all")
    return parts


def _whole(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 10**9:
        raise argparse.ArgumentTypeError("must be 0 to 1,000,000,000")
    return number


def _days(text: str) -> float:
    days = float(text)
    if not 0 < days <= 36_500:
        raise argparse.ArgumentTypeError("must be more than 0 and up to 36,500 days")
    return days


def _dollars(text: str) -> float:
    usd = float(text)
    if not 0 <= usd <= 1e9:
        raise argparse.ArgumentTypeError("must be 0 to 1,000,000,000 dollars")
    return usd


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("must be a share above 0 and up to 1")
    return share
