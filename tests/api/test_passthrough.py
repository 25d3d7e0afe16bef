"""Everything else below /v1/ goes to the teacher and comes back as it was."""

from __future__ import annotations

import asyncio
import os

import pytest

from gateway.api.auth import Authenticator
from gateway.errors import UpstreamError
from gateway.upstream.base import Call, Reply
from tests.api.site_server import CHAT, House, open_house


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "target",
    [
        "/v1/files",
        "/v1/files/",
        "/v1//files",
        "/v1/files/a%2Fb%20c?x=%5B1%5D&y=a+b&&z",
        "/v1/vector_stores/vs_1/files?order=desc",
        "/v1/a;b=c/@d/~e/$f/%7B%7D",
    ],
)
def test_method_and_raw_target_arrive_byte_for_byte(house: House, method: str, target: str) -> None:
    got = house.ask(method, target)

    assert (house.teacher.calls[0].method, house.teacher.calls[0].target) == (method, target.encode())
    assert (got.status, got.body) == (200, b"from the teacher")


def test_a_binary_upload_arrives_whole(house: House) -> None:
    body = os.urandom(3_000_000)

    house.ask("POST", "/v1/files", body, {"content-type": "multipart/form-data; boundary=x"})

    assert house.teacher.bodies == [body]
    assert (b"content-type", b"multipart/form-data; boundary=x") in house.teacher.calls[0].headers


def test_an_upload_flows_while_it_is_still_being_sent(house: House) -> None:
    """Nothing is collected: the teacher has the first bytes before the client sent the last."""

    async def reply(call: Call) -> Reply:
        assert not isinstance(call.body, bytes)
        async for _ in call.body:
            house.teacher.signals.began.set()
        return house.teacher.with_body(b"done")

    house.teacher.reply = reply
    plug = house.raw(b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc")
    assert house.teacher.signals.began.wait(1.0)
    plug.sendall(b"def")
    answer = plug.recv(65536)
    plug.close()

    assert answer.startswith(b"HTTP/1.1 200 ")


def test_the_answer_passes_untouched(house: House) -> None:
    """Status, headers and still-compressed bytes are the teacher's own."""

    async def reply(_: Call) -> Reply:
        return house.teacher.with_body(
            b"\x1f\x8b\x00", b"\xff", status=206, headers=((b"Content-Encoding", b"gzip"), (b"X-A", b"1"))
        )

    house.teacher.reply = reply

    got = house.ask("GET", "/v1/files/f/content")

    assert (got.status, got.body) == (206, b"\x1f\x8b\x00\xff")
    assert (got.header("content-encoding"), got.header("x-a")) == ("gzip", "1")
    assert got.header("x-stepdown-request-id")
    assert got.header("x-request-id") is None


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_body_passes(house: House, status: int) -> None:
    async def reply(_: Call) -> Reply:
        return house.teacher.with_body(status=status, headers=((b"content-length", b"12"),))

    house.teacher.reply = reply
    connection = house.connect()
    connection.request("GET", "/v1/files")

    assert connection.getresponse().status == status
    connection.close()


def test_head_keeps_the_length_of_what_get_would_give(house: House) -> None:
    async def reply(_: Call) -> Reply:
        return house.teacher.with_body(headers=((b"content-length", b"12"),))

    house.teacher.reply = reply

    assert house.ask("HEAD", "/v1/files").header("content-length") == "12"


def test_only_safe_methods_may_be_repeated(house: House) -> None:
    house.ask("GET", "/v1/files")
    house.ask("POST", "/v1/files", b"x")
    house.ask("POST", "/v1/threads")

    assert [call.is_repeatable for call in house.teacher.calls] == [True, False, False]


def test_a_teacher_out_of_reach_is_a_502(house: House) -> None:
    async def reply(_: Call) -> Reply:
        raise UpstreamError("refused")

    house.teacher.reply = reply

    assert house.ask("GET", "/v1/files").error["code"] == "teacher_unreachable"


def test_an_early_answer_to_an_unfinished_upload_arrives(house: House) -> None:
    """The teacher refuses before it read the body: the client reads that, not a reset."""

    async def reply(_: Call) -> Reply:
        await asyncio.sleep(0)
        return house.teacher.with_body(b"too large for me", status=413)

    house.teacher.reply = reply

    got = house.ask("POST", "/v1/files", b"x" * 2_000_000)

    assert (got.status, got.body) == (413, b"too large for me")


def test_a_stranger_reaches_nothing() -> None:
    with open_house(Authenticator("keys")) as house:
        got = house.ask("POST", "/v1/files", b"secret")

        assert got.status == 401
        assert not house.teacher.calls


@pytest.mark.parametrize("status", [404, 405, 501])
def test_get_on_chat_is_a_wrong_method_where_the_teacher_stores_nothing(house: House, status: int) -> None:
    async def reply(_: Call) -> Reply:
        return house.teacher.with_body(b"?", status=status)

    house.teacher.reply = reply

    got = house.ask("GET", CHAT)

    assert (got.status, got.header("allow")) == (405, "POST")
    assert house.teacher.signals.closed.wait(1.0)


def test_get_on_chat_lists_what_the_teacher_stored(house: House) -> None:
    assert house.ask("GET", CHAT + "?limit=1").body == b"from the teacher"
