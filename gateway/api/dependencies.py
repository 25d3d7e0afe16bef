"""The dependencies of the HTTP side on the other rooms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Protocol

import msgspec

from gateway.api.auth import Authenticator, Caller
from gateway.api.http.body import BodyLimits
from gateway.api.http.edge import Config as EdgeConfig
from gateway.api.http.encoded_body import BodyDecoder
from gateway.api.http.memory import MemoryBudget
from gateway.api.in_flight import InFlight
from gateway.api.under_way import OpenWork
from gateway.cascade.passage import Tunnel
from gateway.core import Answer, Refusal, Request
from gateway.policy.key_limits import KeyLimits
from gateway.store.reviews import Feedback


class CountRefusal(Protocol):
    """Counts refusals."""

    def __call__(self, status: int, reason: str, key: str, policy: str, times: int = 1, /) -> None:
        """Count so many of one kind, for a key (its name) or a policy, empty if for none."""


class ApiDependencies(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the public application calls; the callables must not block."""

    serve: Callable[[Request], Awaitable[Answer]]
    pass_through: Callable[[Request, bytes | AsyncIterator[bytes]], Awaitable[Answer]]
    """As `serve`, for what only the teacher answers."""
    open_tunnel: Callable[[Request], Awaitable[Tunnel]]
    """As `pass_through`, for a websocket's handshake."""
    authenticator: Authenticator
    key_limits: KeyLimits | None = None
    """None: keys have no limits here."""
    open_work: OpenWork = msgspec.field(default_factory=OpenWork)
    in_flight: InFlight = msgspec.field(default_factory=lambda: InFlight(EdgeConfig().requests))
    memory: MemoryBudget = msgspec.field(default_factory=lambda: MemoryBudget(EdgeConfig().bodies_mb << 20))
    """For the bodies in work."""
    limits: BodyLimits = BodyLimits()
    own_models: Callable[[Caller], list[str]] = lambda _: []
    """Names of our specialists, as clients see them: `stepdown/<task>`, by the task's name and by its id."""
    is_ready: Callable[[], bool] = lambda: True
    wait_until_closing: Callable[[], Awaitable[object]] = lambda: asyncio.Event().wait()
    """Returns once the worker takes no more connections and ends."""
    instance: bytes = b""
    """The name by which the gateway knows its own requests when they come back."""
    names: Collection[str] = ()
    """Names by which clients may call us where no key is needed, besides addresses and local names."""
    show_labels: bool = True
    body_decoder: BodyDecoder = msgspec.field(default_factory=BodyDecoder)
    has_own_key: bool = False
    """Whether calls carry the gateway's own credential, so that it is the only door to the account."""
    put_feedback: Callable[[Feedback], bool] = lambda _: True
    """Takes what apps say of answers; False if there is no room for it."""
    count_refusal: CountRefusal = lambda *_: None
    record_refusal: Callable[[Refusal], None] = lambda _: None
    """Takes every refusal that leaves no Outcome."""
