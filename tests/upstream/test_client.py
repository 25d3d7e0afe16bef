"""What leaves is what came, what comes back is what was sent, and nothing outlives its caller."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gateway.core import Header
from gateway.demo.teacher.faults import Fault
from gateway.errors import RequestError, UpstreamError, UpstreamTimeoutError
from gateway.upstream.base import Call, Transport
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S
from tests.upstream.conftest import OK, Connect, Engine, RawTeacher, read

ENDLESS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"
CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"ping"}]}'
TARGETS = [
    b"/v1/a%2Fb",
    b"/v1//files",
    b"/v1/a;b=c?d;e",
    b"/v1/%e4%bd%a0?x=%20+%2B&x=&x",
    b"/v1/files?",
    b"/v1/../up/./here",
    b"/v1/a:b@c?q=[]{}|^#not-a-fragment",
    "/v1/für".encode(),
    b"/v1/%zz%",
]


@pytest.fixture(params=["own", "httpcore"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Both engines must keep every promise here."""
    chosen: Engine = request.param
    return chosen


def origin(teacher: RunningTeacher) -> str:
    return teacher.base_url.removesuffix("/v1")


def get(target: bytes = b"/v1/x", headers: tuple[Header, ...] = (), method: str = "GET") -> Call:
    return Call(method=method, target=target, headers=headers)


def post(body: bytes | AsyncIterator[bytes] = CHAT, headers: tuple[Header, ...] = ()) -> Call:
    return Call(method="POST", target=b"/v1/chat/completions", headers=headers, body=body)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("target", TARGETS)
async def test_path_and_query_arrive_byte_for_byte(
    client: Transport, engine: Engine, raw: RawTeacher, target: bytes
) -> None:
    await client.send(raw.origin, get(target))

    if engine == "httpcore":
        # It takes no bytes but those that RFC 9112 section 3.2 allows.
        target = target.replace("ü".encode(), b"%C3%BC")
    assert raw.asked[0].split(b"\r\n")[0] == b"GET " + target + b" HTTP/1.1"


async def test_headers_arrive_in_order_with_duplicates_and_nothing_is_added(
    client: Transport, raw: RawTeacher
) -> None:
    headers = ((b"x-b", b"1"), (b"cookie", b"a=1"), (b"x-a", b""), (b"x-b", b"2"), (b"x-u", "ü".encode()))

    await client.send(raw.origin, get(headers=headers))

    lines = raw.asked[0].split(b"\r\n")[1:-2]
    assert lines[0].startswith(b"host: ")
    assert sorted(lines[1:]) == sorted(name + b": " + value for name, value in headers)
    assert [line for line in lines if line.startswith(b"x-b")] == [b"x-b: 1", b"x-b: 2"]


async def test_a_whole_body_arrives_with_its_length(client: Transport, raw: RawTeacher) -> None:
    await client.send(raw.origin, post(b"{}", ((b"content-type", b"application/json"),)))

    head, _, body = raw.asked[0].partition(b"\r\n\r\n")
    assert (head.count(b"ontent-length: 2") + head.count(b"ontent-Length: 2"), body) == (1, b"{}")


async def test_a_large_body_arrives_whole_and_not_chunked(client: Transport, raw: RawTeacher) -> None:
    body = bytes(range(256)) * 12_000

    await client.send(raw.origin, post(body))

    assert raw.asked[0].endswith(b"\r\n\r\n" + body)


async def test_a_streamed_body_goes_up_chunked(client: Transport, raw: RawTeacher) -> None:
    await client.send(raw.origin, post(pieces(b"abc", b"de")))

    assert raw.asked[0].endswith(b"\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")


async def test_a_streamed_body_of_known_length_keeps_it(client: Transport, raw: RawTeacher) -> None:
    await client.send(raw.origin, post(pieces(b"abc", b"de"), ((b"content-length", b"5"),)))

    assert raw.asked[0].endswith(b"content-length: 5\r\n\r\nabcde")


async def test_the_reason_why_an_upload_stopped_reaches_the_caller(
    client: Transport, raw: RawTeacher
) -> None:
    """A body over the limit is the client's fault, not the teacher's."""

    async def too_long() -> AsyncIterator[bytes]:
        yield b"abc"
        raise RequestError("body too large", status=413)

    with pytest.raises(RequestError, match="too large"):
        await client.send(raw.origin, post(too_long()))
    await asyncio.wait_for(raw.left.wait(), PATIENCE_S)


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x00!",
            200,
            b"\x1f\x8b\x00!",
        ),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b'HTTP/1.1 304 Not Modified\r\netag: "a"\r\ncontent-length: 50\r\n\r\n', 304, b""),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 2\r\n\r\nok", 302, b"ok"),
        (b"HTTP/1.1 200 OK\r\nx-big: " + b"a" * 30_000 + b"\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    ],
    ids=["gzip", "trailers", "204", "304", "103", "100", "302", "large header"],
)
async def test_an_answer_comes_back_untouched_and_the_connection_lives(
    client: Transport, raw: RawTeacher, answer: bytes, status: int, body: bytes
) -> None:
    raw.script = [answer]

    reply = await client.send(raw.origin, get())

    assert (reply.status, await read(reply.body)) == (status, body)
    await client.send(raw.origin, get())
    assert raw.connections == 1


async def test_head_has_a_length_and_no_body(client: Transport, raw: RawTeacher) -> None:
    raw.script = [b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n"]

    reply = await client.send(raw.origin, get(method="HEAD"))

    assert reply.headers == ((b"content-length", b"50"),)
    assert await read(reply.body) == b""


async def test_reply_headers_keep_order_and_duplicates_but_not_those_of_one_hop(
    client: Transport, raw: RawTeacher
) -> None:
    raw.script = [
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-Raw: caf\xe9\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
        b"set-cookie: b=2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ]

    reply = await client.send(raw.origin, get())

    assert reply.headers == ((b"set-cookie", b"a=1"), (b"x-raw", b"caf\xe9"), (b"set-cookie", b"b=2"))


async def test_cookies_of_one_caller_never_go_out_with_the_next(client: Transport, raw: RawTeacher) -> None:
    raw.script = [b"HTTP/1.1 200 OK\r\nset-cookie: session=1\r\ncontent-length: 0\r\n\r\n"]

    await client.send(raw.origin, get())
    await client.send(raw.origin, get())

    assert b"session" not in raw.asked[1]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_lost_connection_is_not_retried_here(client: Transport, raw: RawTeacher, method: str) -> None:
    """The retry policy decides; aiohttp by itself would ask twice for all but POST."""
    raw.script = [None]

    with pytest.raises(UpstreamError, match="closed the connection") as caught:
        await client.send(raw.origin, get(method=method))

    assert (len(raw.asked), caught.value.was_sent) == (1, True)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut_after=20),
        Fault(cut_after=100, is_chunked=True),
        Fault(cut_after=20, is_reset=True),
        Fault(cut_after=100, is_chunked=True, is_reset=True),
    ],
    ids=["short", "short chunked", "reset", "reset chunked"],
)
async def test_a_cut_body_is_an_error_and_never_a_short_answer(
    client: Transport, teacher: RunningTeacher, fault: Fault
) -> None:
    teacher.control.fail_next(fault)

    reply = await client.send(origin(teacher), post())

    with pytest.raises(UpstreamError):
        await read(reply.body)


async def test_a_reset_before_the_head_says_that_the_request_was_sent(
    client: Transport, teacher: RunningTeacher
) -> None:
    teacher.control.fail_next(Fault(is_reset=True))

    with pytest.raises(UpstreamError) as caught:
        await client.send(origin(teacher), post())

    assert caught.value.was_sent


async def test_a_refused_connection_says_that_nothing_was_sent(client: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(UpstreamError) as caught:
        await client.send(f"http://127.0.0.1:{port}", post())

    assert not caught.value.was_sent


async def test_a_late_head_is_a_timeout(teacher: RunningTeacher, connect: Connect) -> None:
    client = connect(first_byte_timeout_s=0.1)
    teacher.control.fail_next(Fault(is_hung=True))

    with pytest.raises(UpstreamTimeoutError):
        await client.send(origin(teacher), post())


async def test_a_body_which_stalls_is_a_timeout(teacher: RunningTeacher, connect: Connect) -> None:
    """The patience for the head does not extend to the body."""
    client = connect(first_byte_timeout_s=60, idle_timeout_s=0.1)
    teacher.control.fail_next(Fault(chunk_delay_ms=60_000))

    reply = await client.send(origin(teacher), post())

    with pytest.raises(UpstreamTimeoutError):
        await read(reply.body)


@pytest.mark.parametrize("limits", [{"first_byte_s": 0.1}, {"idle_s": 0.1}])
async def test_a_call_may_have_less_patience_than_others(
    client: Transport, teacher: RunningTeacher, limits: dict[str, float]
) -> None:
    is_hung = "first_byte_s" in limits
    teacher.control.fail_next(Fault(is_hung=is_hung, chunk_delay_ms=0 if is_hung else 60_000))
    call = msgspec.structs.replace(post(), **limits)

    async def ask() -> None:
        await read((await client.send(origin(teacher), call)).body)

    with pytest.raises(UpstreamTimeoutError):
        await ask()


async def test_a_teacher_who_stops_reading_is_a_timeout(connect: Connect) -> None:
    client = connect(connect_timeout_s=0.1, first_byte_timeout_s=0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(UpstreamTimeoutError):
            await client.send(f"http://127.0.0.1:{port}", post(b"x" * 32_000_000))


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"]
)
async def test_what_is_not_an_http_answer_is_an_error(
    client: Transport, raw: RawTeacher, answer: bytes
) -> None:
    raw.script = [answer]

    with pytest.raises(UpstreamError):
        await client.send(raw.origin, get())


async def test_a_target_with_a_line_break_is_refused(client: Transport, raw: RawTeacher) -> None:
    with pytest.raises(RequestError):
        await client.send(raw.origin, get(b"/v1/x HTTP/1.1\r\nx-smuggled: 1"))

    assert raw.asked == []


async def test_cancelling_before_the_head_closes_the_connection_at_once(
    client: Transport, raw: RawTeacher
) -> None:
    raw.script = [b""]
    call = asyncio.create_task(client.send(raw.origin, post()))
    await raw.arrived.wait()

    call.cancel()

    await asyncio.wait_for(raw.left.wait(), PATIENCE_S)


async def test_closing_an_unread_body_closes_the_connection_at_once(
    client: Transport, raw: RawTeacher
) -> None:
    """Also before its first byte was asked for, where a generator's `finally` would not run."""
    raw.script = [ENDLESS]
    reply = await client.send(raw.origin, post())

    await reply.body.aclose()

    await asyncio.wait_for(raw.left.wait(), PATIENCE_S)


async def test_cancelling_the_reader_of_a_body_closes_the_connection_at_once(
    client: Transport, raw: RawTeacher
) -> None:
    raw.script = [ENDLESS]
    reply = await client.send(raw.origin, post())
    assert await anext(reply.body) == b"ok"
    reader = asyncio.ensure_future(anext(reply.body))
    await asyncio.sleep(0)

    reader.cancel()

    await asyncio.wait_for(raw.left.wait(), PATIENCE_S)


async def test_cancelling_an_upload_closes_the_connection_at_once(client: Transport, raw: RawTeacher) -> None:
    is_uploading = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"abc"
        is_uploading.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(client.send(raw.origin, post(endless())))
    await is_uploading.wait()

    call.cancel()

    await asyncio.wait_for(raw.left.wait(), PATIENCE_S)


async def test_a_body_read_to_its_end_frees_the_connection_for_the_next_call(
    client: Transport, raw: RawTeacher
) -> None:
    for _ in range(3):
        reply = await client.send(raw.origin, get())
        await read(reply.body)
        await reply.body.aclose()

    assert raw.connections == 1


async def test_proxies_of_the_environment_count_only_when_asked(
    raw: RawTeacher, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.setenv("http_proxy", raw.origin)
    monkeypatch.delenv("no_proxy", raising=False)
    client = connect(use_proxy=True)

    await client.send("http://teacher.invalid", get(b"/v1/a%2Fb"))

    assert raw.asked[0].startswith(b"GET http://teacher.invalid/v1/a%2Fb HTTP/1.1\r\n")


async def test_a_connection_which_nobody_uses_is_closed(
    client: Transport, raw: RawTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Load balancers forget it without a word, and the next call would be lost in it."""
    monkeypatch.setattr("gateway.upstream.client.KEEPALIVE_S", 0.05)
    monkeypatch.setattr("gateway.upstream.httpcore_client.KEEPALIVE_S", 0.05)
    reply = await client.send(raw.origin, get())
    await read(reply.body)

    await asyncio.wait_for(raw.left.wait(), PATIENCE_S)


@pytest.mark.parametrize("engine", ["own"], indirect=True)
async def test_a_connection_is_not_kept_for_ever(
    client: Transport, raw: RawTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's name may lead elsewhere meanwhile."""
    monkeypatch.setattr("gateway.upstream.client.LONGEST_LIFE_S", 0.0)

    for _ in range(2):
        await read((await client.send(raw.origin, get())).body)

    assert raw.connections == 2


async def test_a_machine_that_is_gone_is_found_within_a_minute(client: Transport, raw: RawTeacher) -> None:
    """By TCP's probes where nothing is under way, by its patience where something is."""
    await client.send(raw.origin, get())
    [server_side] = raw.writers
    port = server_side.get_extra_info("peername")[1]
    options = _socket_options(port)

    idle_s, interval_s, count, patience_ms = options
    assert idle_s + interval_s * count <= 60
    assert patience_ms <= 60_000


def _socket_options(port: int) -> list[int]:
    """Return how the client's socket with this local port looks for a dead peer."""
    for file in Path("/proc/self/fd").iterdir():
        try:
            sock = socket.socket(fileno=os.dup(int(file.name)))
        except OSError:
            continue
        with sock:
            if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.getsockname()[1] == port:
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
                return [sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, each)) for each in names]
    raise AssertionError("no socket has this port")
