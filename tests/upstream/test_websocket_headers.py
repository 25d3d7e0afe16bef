"""A connection leaves HTTP only when both sides want it, and then whole."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core import Header, Secret
from gateway.errors import UpstreamError
from gateway.upstream.base import Call, Config, Transport
from gateway.upstream.providers.openai import create
from gateway.upstream.websocket_headers import offered_key, without_credentials, without_takeover
from tests.support.waiting import PATIENCE_S
from tests.upstream.conftest import OK, RawTeacher, read

CONSENT = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nx-a: 1\r\n\r\n"
PROTOCOLS = b"sec-websocket-protocol"


def asking(*headers: Header) -> Call:
    return Call(method="GET", target=b"/v1/realtime", headers=headers, may_switch=True)


class Heir(asyncio.Protocol):
    """Collects what it hears until the connection is lost."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


async def test_the_heir_gets_every_byte_behind_the_consent(client: Transport, raw: RawTeacher) -> None:
    raw.script = [CONSENT + b"\x81\x02hi", None]
    heir = Heir()

    reply = await client.send(raw.origin, asking())
    assert reply.link is not None
    way_back = reply.link.detach(heir)
    way_back.write(b"not HTTP\r\n\r\n")
    await asyncio.wait_for(heir.lost.wait(), PATIENCE_S)

    assert (reply.status, dict(reply.headers)[b"x-a"]) == (101, b"1")
    assert heir.heard == b"\x81\x02hi"
    assert raw.asked[1] == b"not HTTP\r\n\r\n"


async def test_a_consent_which_nobody_takes_is_closed_with_its_body(
    client: Transport, raw: RawTeacher
) -> None:
    raw.script = [CONSENT]

    reply = await client.send(raw.origin, asking())
    await reply.body.aclose()

    await asyncio.wait_for(raw.left.wait(), PATIENCE_S)
    assert reply.link is not None
    with pytest.raises(UpstreamError):
        reply.link.detach(Heir())


async def test_a_refusal_is_a_reply_like_any_other_and_keeps_the_connection(
    client: Transport, raw: RawTeacher
) -> None:
    raw.script = [b"HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\nno", OK]

    reply = await client.send(raw.origin, asking())
    body = await read(reply.body)
    again = await client.send(raw.origin, asking())
    await read(again.body)

    assert (reply.status, body, reply.link, again.status) == (426, b"no", None, 200)
    assert raw.connections == 1


async def test_the_teacher_is_asked_for_a_websocket_on_its_own_connection(
    client: Transport, raw: RawTeacher
) -> None:
    teacher = create(Config(base_url=raw.origin), client)

    reply = await teacher.ask(
        asking((b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"WebSocket"), (b"x-a", b"1"))
    )
    await reply.body.aclose()

    lines = raw.asked[0].split(b"\r\n")
    assert [line for line in lines if b"pgrade" in line] == [b"connection: Upgrade", b"upgrade: websocket"]
    assert b"x-a: 1" in lines


async def test_with_a_key_of_our_own_no_subprotocol_carries_another(
    client: Transport, raw: RawTeacher
) -> None:
    teacher = create(Config(base_url=raw.origin, api_key=Secret("sk-own")), client)

    reply = await teacher.ask(asking((PROTOCOLS, b"realtime, openai-insecure-api-key.sk-theirs")))
    await reply.body.aclose()

    assert b"sec-websocket-protocol: realtime\r\n" in raw.asked[0]
    assert b"sk-theirs" not in raw.asked[0]


@pytest.mark.parametrize(
    ("values", "key", "kept"),
    [
        ((b"realtime",), None, [b"realtime"]),
        ((b"realtime,openai-insecure-api-key.k",), b"k", [b"realtime"]),
        ((b"openai-insecure-api-key.k", b"openai-project.p, realtime"), b"k", [b"realtime"]),
        ((b"openai-organization.o, openai-insecure-api-key.k",), b"k", []),
    ],
)
def test_a_key_among_the_subprotocols_is_found_and_taken_out(
    values: tuple[bytes, ...], key: bytes | None, kept: list[bytes]
) -> None:
    headers = [(b"x-a", b"1"), *((PROTOCOLS, value) for value in values)]

    assert offered_key(headers) == key
    assert without_credentials(headers) == [(b"x-a", b"1"), *((PROTOCOLS, value) for value in kept)]


@pytest.mark.parametrize(
    ("agreed", "told"),
    [
        (b"permessage-deflate", b"permessage-deflate; client_no_context_takeover"),
        (
            b"permessage-deflate; server_max_window_bits=12",
            b"permessage-deflate; server_max_window_bits=12; client_no_context_takeover",
        ),
        (
            b"permessage-deflate; client_no_context_takeover",
            b"permessage-deflate; client_no_context_takeover",
        ),
    ],
)
def test_the_client_compresses_each_message_by_itself(agreed: bytes, told: bytes) -> None:
    assert without_takeover([(b"sec-websocket-extensions", agreed)]) == [(b"sec-websocket-extensions", told)]
