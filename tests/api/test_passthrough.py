"""Every other path below /v1/ goes to the teacher and back, untouched."""

from __future__ import annotations

import asyncio
import os

import pytest

from gateway.api.auth import Authenticator
from gateway.errors import UpstreamError
from gateway.upstream.base import Call, Reply
from tests.api.site_server import CHAT, SiteServer, serve_site
from tests.support.waiting import PATIENCE_S


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
def test_method_and_raw_target_arrive_byte_for_byte(site: SiteServer, method: str, target: str) -> None:
    response = site.ask(method, target)

    assert (site.teacher.calls[0].method, site.teacher.calls[0].target) == (method, target.encode())
    assert (response.status, response.body) == (200, b"from the teacher")


def test_a_binary_upload_arrives_whole(site: SiteServer) -> None:
    body = os.urandom(3_000_000)

    site.ask("POST", "/v1/files", body, {"content-type": "multipart/form-data; boundary=x"})

    assert site.teacher.bodies == [body]
    assert (b"content-type", b"multipart/form-data; boundary=x") in site.teacher.calls[0].headers


def test_an_upload_flows_while_it_is_still_being_sent(site: SiteServer) -> None:
    """Nothing is collected: the teacher has the first bytes before the client has sent the last."""

    async def reply(call: Call) -> Reply:
        assert not isinstance(call.body, bytes)
        async for _ in call.body:
            site.teacher.signals.began.set()
        return site.teacher.with_body(b"done")

    site.teacher.reply = reply
    sock = site.open_socket(b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc")
    assert site.teacher.signals.began.wait(PATIENCE_S)
    sock.sendall(b"def")
    answer = sock.recv(65536)
    sock.close()

    assert answer.startswith(b"HTTP/1.1 200 ")


def test_the_answer_passes_untouched(site: SiteServer) -> None:
    """Status, headers and still-compressed bytes are the teacher's own."""

    async def reply(_: Call) -> Reply:
        return site.teacher.with_body(
            b"\x1f\x8b\x00", b"\xff", status=206, headers=((b"Content-Encoding", b"gzip"), (b"X-A", b"1"))
        )

    site.teacher.reply = reply

    response = site.ask("GET", "/v1/files/f/content")

    assert (response.status, response.body) == (206, b"\x1f\x8b\x00\xff")
    assert (response.header("content-encoding"), response.header("x-a")) == ("gzip", "1")
    assert response.header("x-stepdown-request-id")
    assert response.header("x-request-id") is None


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_body_passes(site: SiteServer, status: int) -> None:
    async def reply(_: Call) -> Reply:
        return site.teacher.with_body(status=status, headers=((b"content-length", b"12"),))

    site.teacher.reply = reply
    connection = site.connect()
    connection.request("GET", "/v1/files")

    assert connection.getresponse().status == status
    connection.close()


def test_head_keeps_the_length_that_a_get_would_have(site: SiteServer) -> None:
    async def reply(_: Call) -> Reply:
        return site.teacher.with_body(headers=((b"content-length", b"12"),))

    site.teacher.reply = reply

    assert site.ask("HEAD", "/v1/files").header("content-length") == "12"


def test_idempotent_methods_outlive_a_stale_connection_and_nothing_is_retried_unasked(
    site: SiteServer,
) -> None:
    """RFC 9110 section 9.2.2. Whether a failed GET is worth asking again is its client's to say."""
    site.ask("GET", "/v1/files")
    site.ask("POST", "/v1/files", b"x")
    site.ask("POST", "/v1/threads")

    assert [call.is_idempotent for call in site.teacher.calls] == [True, False, False]
    assert not any(call.is_repeatable for call in site.teacher.calls)


def test_a_teacher_out_of_reach_is_a_502(site: SiteServer) -> None:
    async def reply(_: Call) -> Reply:
        raise UpstreamError("refused")

    site.teacher.reply = reply

    assert site.ask("GET", "/v1/files").error["code"] == "teacher_unreachable"


def test_an_early_answer_to_an_unfinished_upload_arrives(site: SiteServer) -> None:
    """The teacher refuses before it has read the body: the client reads that, not a reset."""

    async def reply(_: Call) -> Reply:
        await asyncio.sleep(0)
        return site.teacher.with_body(b"too large for me", status=413)

    site.teacher.reply = reply

    response = site.ask("POST", "/v1/files", b"x" * 2_000_000)

    assert (response.status, response.body) == (413, b"too large for me")


def test_a_stranger_reaches_nothing() -> None:
    with serve_site(Authenticator("keys")) as site:
        response = site.ask("POST", "/v1/files", b"secret")

        assert response.status == 401
        assert not site.teacher.calls


@pytest.mark.parametrize("status", [404, 405, 501])
def test_get_on_chat_is_a_wrong_method_where_the_teacher_stores_nothing(
    site: SiteServer, status: int
) -> None:
    async def reply(_: Call) -> Reply:
        return site.teacher.with_body(b"?", status=status)

    site.teacher.reply = reply

    response = site.ask("GET", CHAT)

    assert (response.status, response.header("allow")) == (405, "POST")
    assert site.teacher.signals.closed.wait(PATIENCE_S)


def test_get_on_chat_lists_the_completions_that_the_teacher_stored(site: SiteServer) -> None:
    assert site.ask("GET", CHAT + "?limit=1").body == b"from the teacher"
