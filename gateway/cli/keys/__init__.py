"""Create, list, show, change, rotate and revoke the keys that let clients in."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING

from gateway.cli import OK, add_watch
from gateway.cli.keys.terms import add_term_options, describe_change, read_terms, terms_of

if TYPE_CHECKING:
    from gateway.settings import Settings
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
    change = actions.add_parser(
        "change", help="change what a key may do and its limits ('none' lifts one); the rest stays"
    )
    add_term_options(change, is_change=True)
    rotate = actions.add_parser("rotate", help="print a new secret for a key; the old one stays for a while")
    rotate.add_argument(
        "--overlap", default="24h", metavar="SPAN", help="how long the old secret stays valid (24h; 0s: not)"
    )
    revoke = actions.add_parser("revoke", help="refuse a key from now on, and end what it has under way")
    for action in (show, change, rotate, revoke):
        action.add_argument("key", help="the key's id or name, from `keys list`")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print JSON")


def _add_create(create: argparse.ArgumentParser) -> None:
    create.add_argument("--name", required=True, help="the holder of the key; one valid key per name")
    create.add_argument("--tenant", default="", help="the owner of its requests' data (its own: the name)")
    add_term_options(create, is_change=False)


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
        if arguments.action == "change":
            return _change(state, settings, arguments)
        if arguments.action == "rotate":
            return _rotate(state, arguments)
        return _revoke(state, settings, arguments)


def _create(state: State, settings: Settings, arguments: argparse.Namespace) -> int:
    from gateway.store.audit_trail import name_local_actor
    from gateway.store.key_tables import KeyTerms

    terms = read_terms(settings, arguments, KeyTerms())
    with state.key_trail.transaction():
        key_id, secret = state.keys.create(arguments.name, tenant=arguments.tenant, terms=terms)
        state.key_trail.add(name_local_actor(), "keys create", key_id, name=arguments.name)
    print(json.dumps({"id": key_id, "key": secret}) if arguments.json else secret)
    if not settings.home.run_file.exists():
        print(f"made in {settings.home.folder}, from which no gateway runs now", file=sys.stderr)
    return OK


def _list(keys: KeyStore, arguments: argparse.Namespace) -> int:
    from gateway.cli.keys.formatting import format_row
    from gateway.policy.key_meters import describe_key

    now = time.time()
    if arguments.json:
        print(json.dumps([describe_key(key, now) for key in keys.all()]))
        return OK
    for key in (found := keys.all()):
        print(format_row(key, now))
    if not found:
        print("no key yet: `stepdown keys create --name NAME`")
    return OK


def _show(keys: KeyStore, settings: Settings, arguments: argparse.Namespace) -> int:
    from gateway.cli.keys.formatting import format_details
    from gateway.policy.key_limits import KeyLimits
    from gateway.policy.key_meters import describe_key
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


def _change(state: State, settings: Settings, arguments: argparse.Namespace) -> int:
    from gateway.policy.key_meters import describe_key
    from gateway.store.audit_trail import name_local_actor

    key = _find(state.keys, arguments.key)
    before = terms_of(key)
    after = read_terms(settings, arguments, before)
    changes = describe_change(before, after)
    with state.key_trail.transaction():
        state.keys.change(key.id, after)
        if changes:
            state.key_trail.add(name_local_actor(), "keys change", key.id, name=key.name, **changes)
    if arguments.json:
        print(json.dumps(describe_key(_find(state.keys, key.id), time.time())))
    else:
        print("\n".join(f"{name}: {change}" for name, change in changes.items()) or "nothing is different")
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


def _revoke(state: State, settings: Settings, arguments: argparse.Namespace) -> int:
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
    if _is_cut_off(settings):
        print("other machines refuse it once this one reaches the shared state again", file=sys.stderr)
    return OK


def _is_cut_off(settings: Settings) -> bool:
    """Whether this machine is one of several that it cannot reach."""
    if not settings.state.is_shared:
        return False
    from gateway.sharing.contact import read_contact_report

    return read_contact_report(settings.home).state == "away"


def _find(keys: KeyStore, id_or_name: str) -> KeyFacts:
    from gateway.errors import ConfigError

    key = keys.find(id_or_name)
    if key is None:
        raise ConfigError(f"no key has the id or name '{id_or_name}'; see `stepdown keys list`")
    return key
