"""Who may do what in the admin plane."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler

from gateway.store.admin_tokens import AdminToken, Role

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]

NEEDS = "needs"
"""The option of a handler that names the role it needs, or None for no token at all."""
_SCHEME = "bearer "


def create_guard(find_token: Callable[[str], AdminToken | None], *, is_loopback: bool) -> Guard:
    """Return the guard of every handler; afterwards `connection.state.token` is the caller's token.

    Where the plane listens on a loopback address alone, callers without a token may view. They may not
    read texts or change anything: other users of this machine reach that address as well, and the
    commands do both for who may read the home.
    """

    async def admit(connection: Connection, handler: BaseRouteHandler) -> None:
        role = cast("Role | None", handler.opt.get(NEEDS, "view"))
        token = await _read_token(connection, find_token)
        connection.state.token = token
        if role is None or (token is not None and token.allows(role)):
            return
        if token is not None:
            raise PermissionDeniedException(f"The token '{token.name}' lacks the role '{role}'.")
        if not (is_loopback and role == "view"):
            raise NotAuthorizedException(
                f"This needs a token with the role '{role}': `stepdown admin tokens create`, sent as "
                "`Authorization: Bearer ...`.",
                headers={"www-authenticate": "Bearer"},
            )

    return admit


def name_actor(connection: Connection) -> str:
    """Return the actor for the audit trail."""
    return f"token:{connection.state.token.name}"


def may_read_texts(connection: Connection) -> bool:
    """Return whether the caller may read texts of requests."""
    token = connection.state.token
    return token is not None and bool(token.allows("content"))


async def _read_token(
    connection: Connection, find_token: Callable[[str], AdminToken | None]
) -> AdminToken | None:
    value = connection.headers.get("authorization", "")
    if not value:
        return None
    # One that is wrong is never taken for none: its holder would wonder why less is shown.
    plain = value[len(_SCHEME) :].strip() if value.lower().startswith(_SCHEME) else ""
    token = await asyncio.to_thread(find_token, plain) if plain else None
    if token is None:
        raise NotAuthorizedException(
            "Unknown, expired or revoked token.", headers={"www-authenticate": "Bearer"}
        )
    return token
