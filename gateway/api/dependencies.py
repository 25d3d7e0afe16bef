"""What the HTTP side needs from the rest of the house."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from gateway.api.auth import Authenticator
from gateway.api.http.body import Limits
from gateway.core import Answer, Request
from gateway.upstream.base import Teacher


class ApiDependencies(msgspec.Struct, frozen=True, kw_only=True):
    """Everything which the public site opens to; the callables must not block."""

    serve: Callable[[Request], Awaitable[Answer]]
    teacher: Teacher
    authenticator: Authenticator
    limits: Limits = Limits()
    own_models: Callable[[], list[str]] = list
    """Names of our specialists, as clients see them: `stepdown/<task>`."""
    is_ready: Callable[[], bool] = lambda: True
    show_labels: bool = True
