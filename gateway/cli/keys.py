"""Create, list and revoke the keys that let clients in."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import TYPE_CHECKING

from gateway.cli import OK

if TYPE_CHECKING:
    from gateway.store.keys import KeyStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="print a new key: only now, for only its hash is kept")
    create.add_argument("--name", default="", help="the holder of the key")
    create.add_argument("--tenant", default="", help="whose data its requests are (its own: the name)")
    create.add_argument("--trusted", action="store_true", help="its holder sees scores and audits")
    create.add_argument(
        "--force-local", action="store_true", help="its holder may demand local answers without a certificate"
    )
    create.add_argument("--json", action="store_true", help="print JSON")
    listing = actions.add_parser("list", help="list ids, names and states, never the keys themselves")
    listing.add_argument("--json", action="store_true", help="print JSON")
    revoke = actions.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument("id", help="the key's id, from `keys list`")


def run(arguments: argparse.Namespace) -> int:
    """Create, list or revoke."""
    from gateway.errors import ConfigError
    from gateway.settings import read_settings
    from gateway.store.state import open_state

    with open_state(read_settings(os.environ).home) as state:
        if arguments.action == "create":
            return _create(state.keys, arguments)
        if arguments.action == "list":
            return _list(state.keys, arguments)
        if not state.keys.revoke(arguments.id):
            raise ConfigError(f"no valid key has the id '{arguments.id}'; see `stepdown keys list`")
        print(f"revoked {arguments.id}; workers refuse it within a second")
    return OK


def _create(keys: KeyStore, arguments: argparse.Namespace) -> int:
    key_id, plain = keys.create(
        arguments.name,
        tenant=arguments.tenant,
        is_trusted=arguments.trusted,
        may_force_local=arguments.force_local,
    )
    print(json.dumps({"id": key_id, "key": plain}) if arguments.json else plain)
    return OK


def _list(keys: KeyStore, arguments: argparse.Namespace) -> int:
    known = keys.all()
    if arguments.json:
        import msgspec

        print(msgspec.json.encode(known).decode())
        return OK
    for key in known:
        made = time.strftime("%Y-%m-%d", time.gmtime(key.created_at))
        state = "revoked" if key.revoked_at else "trusted" if key.is_trusted else "valid"
        owner = "" if key.tenant in (key.name, key.id) else f"  of {key.tenant}"
        print(f"{key.id}  {state:8}  {made}  {key.name}{owner}")
    return OK
