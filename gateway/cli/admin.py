"""Create, list and revoke the tokens that let people and programs into the admin plane."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import OK

if TYPE_CHECKING:
    from gateway.store.admin_tokens import AdminToken, Role
    from gateway.store.state import State

ROLES: tuple[Role, ...] = ("view", "content", "operate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    subjects = parser.add_subparsers(dest="subject", metavar="SUBJECT", required=True)
    tokens = subjects.add_parser("tokens", help="create, list and revoke tokens of the admin plane")
    actions = tokens.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="print a new token: only now, for only its hash is kept")
    create.add_argument("--name", required=True, help="its holder, as the audit trail will name it")
    create.add_argument(
        "--role",
        action="append",
        choices=ROLES,
        help="view (the default): figures, decisions; content: texts, too; operate: change; repeatable",
    )
    create.add_argument(
        "--token-file",
        metavar="FILE",
        help="take the token in FILE, which machines share, in place of any of that name; print its id",
    )
    create.add_argument("--expires", metavar="WHEN", help="after a span (90d) or at a UTC day (2027-01-31)")
    actions.add_parser("list", help="list ids, names, roles and states, never the tokens themselves")
    revoke = actions.add_parser("revoke", help="refuse a token from now on")
    revoke.add_argument("token", help="its id or name")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says. Raises ConfigError for a name that is taken or unknown."""
    from gateway.settings import read_settings
    from gateway.store.state import open_state

    with open_state(read_settings(os.environ).home) as state:
        return {"create": _create, "list": _list, "revoke": _revoke}[arguments.action](state, arguments)


def _create(state: State, arguments: argparse.Namespace) -> int:
    from gateway.config.durations import parse_moment
    from gateway.errors import ConfigError
    from gateway.store.audit_trail import name_local_actor

    now = time.time()
    expires_at = parse_moment(arguments.expires, now) if arguments.expires is not None else None
    if expires_at is not None and expires_at <= now:
        raise ConfigError(f"--expires {arguments.expires} is over already")
    asked = arguments.role or ["view"]
    roles = tuple(role for role in ROLES if role in asked)
    secret = _read_token_file(arguments.token_file) if arguments.token_file else ""
    with state.trail.transaction():
        if secret:
            if same := _find_same(state, arguments.name, secret, roles):
                return _print_id(arguments, same.id)
            _revoke_former(state, arguments.name)
        token, plain = state.admin_tokens.create(arguments.name, roles, expires_at, secret)
        state.trail.add(name_local_actor(), "admin tokens create", token.id, name=token.name, roles=roles)
    if secret:
        return _print_id(arguments, token.id)
    return _print_json({"id": token.id, "token": plain}) if arguments.json else _print(plain)


def _read_token_file(file: str) -> str:
    from gateway.errors import ConfigError

    try:
        if secret := Path(file).read_text(encoding="ascii").strip():
            return secret
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--token-file {file} cannot be read: {exc}") from exc
    raise ConfigError(f"--token-file {file} is empty")


def _find_same(state: State, name: str, secret: str, roles: tuple[Role, ...]) -> AdminToken | None:
    found = state.admin_tokens.find_secret(secret)
    return found if found and (found.name, found.roles) == (name, roles) else None


def _revoke_former(state: State, name: str) -> None:
    from gateway.store.audit_trail import name_local_actor

    now = time.time()
    for token in state.admin_tokens.all():
        if token.name == name and token.state_at(now) == "valid":
            state.admin_tokens.revoke(token.id)
            state.trail.add(name_local_actor(), "admin tokens revoke", token.id, name=name)


def _print_id(arguments: argparse.Namespace, token_id: str) -> int:
    return _print_json({"id": token_id}) if arguments.json else _print(token_id)


def _list(state: State, arguments: argparse.Namespace) -> int:
    import msgspec

    now, tokens = time.time(), state.admin_tokens.all()
    if arguments.json:
        return _print_json([{**msgspec.to_builtins(one), "state": one.state_at(now)} for one in tokens])
    for one in tokens:
        made = time.strftime("%Y-%m-%d", time.gmtime(one.created_at))
        print(f"{one.id}  {one.state_at(now):7}  {made}  {','.join(one.roles):20}  {one.name}"[:80])
    if not tokens:
        print("no token yet: `stepdown admin tokens create --name NAME`")
    return OK


def _revoke(state: State, arguments: argparse.Namespace) -> int:
    from gateway.store.audit_trail import name_local_actor

    with state.trail.transaction():
        token = state.admin_tokens.revoke(arguments.token)
        state.trail.add(name_local_actor(), "admin tokens revoke", token.id, name=token.name)
    said = f"revoked {token.id} ({token.name}); it is refused from now on"
    return _print_json({"id": token.id, "state": "revoked"}) if arguments.json else _print(said)


def _print(text: str) -> int:
    print(text)
    return OK


def _print_json(value: object) -> int:
    import msgspec

    print(msgspec.json.encode(value).decode())
    return OK
