"""What a teacher must promise: bytes in, bytes out, nothing changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta

from gateway.config.bounds import PositiveFloat, PositiveInt
from gateway.core import Body, Header, Secret, Trainable


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the teacher is, which credential it sees, and how patiently it is called.

    With `api_key` every call carries it (mode `own`; an empty one is not sent), without it the client's own
    (mode `forward`).
    """

    base_url: str = "https://api.openai.com/v1"
    """As OpenAI's SDKs take it: stands for the `/v1` of a path. A bare host means `/v1`."""
    api_key: Secret | None = None
    organization: str | None = None
    project: str | None = None
    connect_timeout_s: PositiveFloat = 5.0
    """DNS, TCP and TLS together."""
    first_byte_timeout_s: PositiveFloat = 600.0
    """From the last byte sent to the head of the reply. As OpenAI's own clients: a reasoning model
    thinks for minutes before its first byte."""
    idle_timeout_s: PositiveFloat = 600.0
    """Between two reads of a body, which any byte ends: a reasoning model is silent there, too. A teacher
    whose machine is gone is found sooner, by TCP's own probes."""
    suspect_after_s: PositiveFloat = 10.0
    """Where another teacher can answer: after so long without any answer from this one it is asked for its
    models, and is left if it does not answer that either."""
    max_in_flight: PositiveInt | None = None
    """Calls at once, each with a connection of its own, per worker; None: no limit."""
    adapts_in_flight: bool = False
    """Whether fewer are sent while the teacher says that it is too much (429, 503, no answer in time), and
    more again as it answers. What was too much is sent again, within the retries, once there is room."""
    queue_timeout_s: PositiveFloat = 10.0
    """How long a call over the limit waits for its turn where no other teacher can answer it."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    """As OpenAI's SDKs, as is the first wait; all retries together stay within a tenth of the requests."""
    first_wait_s: PositiveFloat = 0.5
    longest_wait_s: PositiveFloat = 2.0
    """If the teacher asks for more, the client is told instead: it may have something else to do."""
    options: dict[str, Any] = {}
    """The options of the provider, as its own Config declares them."""
    trainable: Trainable = "yes"
    """What its terms of use allow. no: its answers are not kept: neither learnt from, nor evidence.
    restricted: they are, here; an export of them wants `--accept-terms`."""
    use_proxy: bool = False
    """Whether HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count."""
    proxy: str | None = None
    """A proxy for this teacher alone: http://, https://, socks5:// or socks5h://[user:password@]host:port."""
    transport: Literal["auto", "own", "httpcore"] = "auto"
    """"own" costs a fraction of the CPU and speaks HTTP/1.1, directly or through an http:// proxy. "httpcore"
    speaks HTTP/2 and through other proxies, too; "auto" takes it where one of these is asked for."""
    http2: bool = False
    """Offer HTTP/2 to a teacher behind TLS."""
    ca_file: str | None = None
    """The certificates (PEM) that vouch for the teacher, instead of the system's."""
    client_certificate: str | None = None
    """A file (PEM) by which the teacher knows the gateway; its key is inside, or in `client_key`."""
    client_key: str | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP call to the teacher.

    `target` is raw path and query exactly as the client sent them, from "/v1/..." on.
    `body` is either whole or a stream that can be sent once. `is_repeatable` says that
    asking twice has no effect beyond cost; anything else is retried only while not one
    byte of it has left. `is_idempotent` (RFC 9110 section 9.2.2) alone is never a retry: such a call is
    sent a second time where its kept-alive connection turns out to be closed, or to another teacher.
    """

    method: str
    target: bytes
    headers: tuple[Header, ...]
    body: bytes | AsyncIterator[bytes] = b""
    is_repeatable: bool = False
    is_idempotent: bool = False
    may_switch: bool = False
    """Whether the client asked for a websocket and takes a 101 for an answer."""
    teachers: tuple[str, ...] = ()
    """The teachers that may answer, in order; empty: all that there are."""
    weights: tuple[float, ...] = ()
    """The shares of calls that ask each of them first; empty: the first is."""
    first_byte_s: float | None = None
    """As `first_byte_timeout_s` and `idle_timeout_s`, for this call alone."""
    idle_s: float | None = None
    needs_same_model: bool = False
    """Whether the answer of another model would be wrong: vectors of two models cannot be compared."""
    is_bound: bool = False
    """Whether it concerns what the first of them keeps, so that no other may answer."""


class Link(Protocol):
    """A connection that has left HTTP behind."""

    def detach(self, heir: asyncio.Protocol) -> asyncio.Transport:
        """Give `heir` what came and whatever comes, from the loop's next turn on; return the way back.

        To be called once, instead of reading the reply's body. `connection_made` is not called. Raises
        UpstreamError when the teacher has left meanwhile.
        """


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The teacher's reply once its head has arrived.

    `body` yields the bytes as received (never decompressed) and must be closed with
    `aclose()`; closing it early breaks the connection so that the teacher stops working.
    It raises UpstreamError when the teacher breaks off.
    """

    status: int
    headers: tuple[Header, ...]
    body: Body
    retries: int = 0
    served_by: str = ""
    """The teacher's name, where there is more than one."""
    is_lesson: bool = True
    """Whether it may be learnt from, and be evidence: a fallback's answer is neither."""
    link: Link | None = None
    """Set with a 101, for a call that may switch alone: the receiver takes it or closes `body`."""


class Transport(Protocol):
    """An HTTP client: bytes out, bytes in, nothing added, nothing undone."""

    async def send(self, origin: str, call: Call) -> Reply:
        """Send `call` to `origin` (scheme://host:port); return when its head has arrived.

        Sent once, or a second time where a kept connection turns out to be closed and `call` may be repeated.
        The reply's headers are end-to-end only, names in lower case. Cancelling it closes the connection.
        Raises RequestError for a target or header no HTTP request may carry, UpstreamError when no head came,
        and whatever the body's iterator raises.
        """

    async def close(self) -> None:
        """Close every idle connection."""


class Teacher(Protocol):
    """The hosted giant behind one base URL."""

    async def ask(self, call: Call) -> Reply:
        """Return the reply as soon as its head is there; any status is a reply.

        Cancelling the call closes its connection at once. Called from many tasks at once.
        Raises UpstreamError when no head arrived: refused, reset, or late
        (UpstreamTimeoutError); a provider asks once, GuardedTeacher retries.
        """

    async def close(self) -> None:
        """Close every connection."""
