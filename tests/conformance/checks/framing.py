"""How messages begin and end on a connection, in both directions."""

from __future__ import annotations

import time

from tests.conformance.answers import COMPLETION, chunk, head, reply
from tests.conformance.harness import Harness, assert_hello, assert_identical, assert_same_json, chat_body
from tests.conformance.table import check
from tests.conformance.teacher import cut, pause

CHAT = "/chat/completions"
BIG = bytes(range(256)) * 16384


@check(101, "a request with content-length arrives with that length", source="RFC 9112, 6.2")
def content_length_up(harness: Harness) -> None:
    body = chat_body()
    harness.ask("POST", CHAT, body)
    assert_same_json(harness.teacher.last.body, body)
    assert harness.teacher.last.value("content-length") == str(len(harness.teacher.last.body))


@check(102, "a chat request in chunks arrives whole", source="RFC 9112, 7.1")
def chunked_chat(harness: Harness) -> None:
    body = chat_body()
    with harness.connect() as connection:
        connection.send(
            harness.request(
                "POST", CHAT, headers={"transfer-encoding": "chunked", "content-type": "application/json"}
            )
        )
        for start in range(0, len(body), 7):
            connection.send(chunk(body[start : start + 7]))
        connection.send(chunk(b""))
        assert connection.got().status == 200
    assert_same_json(harness.teacher.last.body, body)


@check(103, "an upload in chunks arrives whole", source="RFC 9112, 7.1")
def chunked_upload(harness: Harness) -> None:
    with harness.connect() as connection:
        kind = {"transfer-encoding": "chunked", "content-type": "multipart/form-data; boundary=x"}
        connection.send(harness.request("POST", "/files", headers=kind))
        connection.send(b"".join(map(chunk, (b"--x\r\n", BIG[:70_000], b"\r\n--x--", b""))))
        assert connection.got().status == 200
    assert_identical(harness.teacher.last.body, b"--x\r\n" + BIG[:70_000] + b"\r\n--x--")


@check(104, "an answer with content-length keeps it", source="RFC 9112, 6.2")
def content_length_down(harness: Harness) -> None:
    got = harness.chat()
    assert_hello(got)
    assert got.value("content-length") == str(len(got.body))


@check(105, "an answer in chunks arrives whole and ends as such", source="RFC 9112, 7.1")
def chunked_down(harness: Harness) -> None:
    pieces = [chunk(COMPLETION[start : start + 11]) for start in range(0, len(COMPLETION), 11)]
    opening = head(200, "content-type: application/json", "transfer-encoding: chunked")
    got = harness.chat([opening, *pieces, chunk(b"")])
    assert_hello(got)


@check(106, "an answer that ends with its connection arrives whole", source="RFC 9112, 6.3 (8)")
def until_close(harness: Harness) -> None:
    got = harness.chat([head(200, "content-type: application/json", "connection: close"), COMPLETION, cut])
    assert_hello(got)


@check(107, "HEAD gets the length but no body, and the connection lives on", source="RFC 9110, 9.3.2")
def head_request(harness: Harness) -> None:
    harness.teacher.play([head(200, "content-type: application/json", "content-length: 1234")])
    with harness.connect() as connection:
        connection.send(harness.request("HEAD", "/files/file-1/content"))
        got = connection.got("HEAD")
        assert (got.status, got.value("content-length")) == (200, "1234")
        connection.send(harness.request("GET", "/files"))
        assert connection.got("GET").status == 200


@check(108, "204 has neither a body nor a length", source="RFC 9110, 8.6")
def no_content(harness: Harness) -> None:
    harness.teacher.play([head(204, "x-kept: 1")])
    with harness.connect() as connection:
        connection.send(harness.request("DELETE", "/files/file-1"))
        got = connection.got("DELETE")
        assert (got.status, got.value("x-kept")) == (204, "1")
        assert got.value("content-length") is None
        assert got.value("transfer-encoding") is None
        connection.send(harness.request("GET", "/files"))
        assert connection.got("GET").status == 200


@check(109, "304 keeps its validators and has no body", source="RFC 9110, 15.4.5")
def not_modified(harness: Harness) -> None:
    harness.teacher.play([head(304, 'etag: "a"')])
    got = harness.ask("GET", "/files/file-1/content", headers={"if-none-match": '"a"'})
    assert (got.status, got.value("etag")) == (304, '"a"')
    assert harness.teacher.last.value("if-none-match") == '"a"'


@check(110, "a connection is kept for the next request", source="RFC 9112, 9.3")
def keep_alive(harness: Harness) -> None:
    with harness.connect() as connection:
        for _ in range(3):
            connection.send(harness.request("POST", CHAT, chat_body()))
            assert connection.got().status == 200


@check(111, "pipelined requests are answered in their order", source="RFC 9112, 9.3.2")
def pipelined(harness: Harness) -> None:
    harness.teacher.play([pause(0.05), reply(200, b'"first"')], [reply(200, b'"second"')])
    with harness.connect() as connection:
        connection.send(harness.request("GET", "/files?1") + harness.request("GET", "/files?2"))
        assert [connection.got("GET").body, connection.got("GET").body] == [b'"first"', b'"second"']


@check(112, "connection: close is obeyed", source="RFC 9112, 9.6")
def connection_close(harness: Harness) -> None:
    with harness.connect() as connection:
        connection.send(harness.request("POST", CHAT, chat_body(), {"connection": "close"}))
        assert connection.got().status == 200
        assert connection.is_closed


@check(113, "a client of HTTP/1.0 gets no chunks, and the connection ends", source="RFC 9112, 6.1")
def http_1_0(harness: Harness) -> None:
    with harness.connect() as connection:
        connection.send(
            harness.request("POST", CHAT, chat_body(), {"connection": "close"}).replace(
                b"HTTP/1.1", b"HTTP/1.0", 1
            )
        )
        got = connection.got()
        assert_hello(got)
        assert connection.is_closed


@check(114, "expect: 100-continue is answered before the body is sent", source="RFC 9110, 10.1.1")
def expect_continue(harness: Harness) -> None:
    body = chat_body()
    with harness.connect() as connection:
        head_only = harness.request("POST", CHAT, body, {"expect": "100-continue"})[: -len(body)]
        connection.send(head_only)
        interim = connection.reader.read_head()
        assert interim, "the connection was closed"
        assert interim.first.split(" ")[1] == "100"
        connection.send(body)
        assert connection.got().status == 200
    assert_same_json(harness.teacher.last.body, body)


@check(115, "an interim answer of the teacher does not stand for the final one", source="RFC 9110, 15.2")
def interim_answer(harness: Harness) -> None:
    got = harness.chat([b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", reply(200, COMPLETION)])
    assert_hello(got)


@check(116, "4 MB of a chat request arrive whole", source="API: Images and vision, file size limits")
def big_request(harness: Harness) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 1_000_000}}
    body = chat_body(messages=[{"role": "user", "content": [part]}])
    assert harness.ask("POST", CHAT, body).status == 200
    assert_same_json(harness.teacher.last.body, body)


@check(117, "8 MB of an answer arrive whole", source="API: Files, retrieve file content")
def big_answer(harness: Harness) -> None:
    harness.teacher.play([reply(200, BIG * 2, kind="application/octet-stream")])
    got = harness.ask("GET", "/files/file-1/content")
    assert_identical(got.body, BIG * 2)


@check(118, "an empty answer stays empty", source="RFC 9110, 8.6")
def empty_answer(harness: Harness) -> None:
    harness.teacher.play([reply(200, b"")])
    got = harness.ask("POST", "/anything", b"{}")
    assert (got.status, got.body, got.is_whole) == (200, b"", True)


@check(119, "a head in single bytes is understood", source="RFC 9112, 2.2")
def head_in_bytes(harness: Harness) -> None:
    body = chat_body()
    with harness.connect() as connection:
        for byte in harness.request("POST", CHAT, body):
            connection.send(bytes([byte]))
        assert connection.got().status == 200
    assert_same_json(harness.teacher.last.body, body)


@check(120, "a length beside chunks smuggles no second request", source="RFC 9112, 6.3 (3)")
def smuggling(harness: Harness) -> None:
    hidden = harness.request("DELETE", "/files/victim")
    with harness.connect() as connection:
        lengths = {"transfer-encoding": "chunked", "content-length": str(len(chunk(b"")) + len(hidden))}
        connection.send(harness.request("POST", "/files", headers=lengths) + chunk(b"") + hidden)
        connection.got()
        # A reader of the chunks must not read on: the peer may have meant the length.
        time.sleep(0.1)
    assert not [request for request in harness.teacher.seen if request.method == "DELETE"], (
        "the hidden request ran"
    )


@check(121, "two lengths that differ are refused", source="RFC 9112, 6.3 (5)")
def two_lengths(harness: Harness) -> None:
    with harness.connect() as connection:
        connection.send(
            harness.request("POST", "/files", b"{}", {"content-length": "2"}, "content-length: 3")
        )
        got = connection.got()
        assert got.status == 400
    assert not harness.teacher.seen


@check(122, "a request of HTTP/1.1 without a host is refused", source="RFC 9112, 3.2")
def no_host(harness: Harness) -> None:
    with harness.connect() as connection:
        connection.send(harness.request("GET", "/models").replace(b"host: ", b"x-host: ", 1))
        got = connection.got("GET")
        assert got.status == 400


@check(123, "two hosts are refused", source="RFC 9112, 3.2")
def two_hosts(harness: Harness) -> None:
    with harness.connect() as connection:
        connection.send(harness.request("GET", "/models", None, None, "host: other"))
        got = connection.got("GET")
        assert got.status == 400


@check(124, "trailers after a chunked answer harm nothing", source="RFC 9112, 7.1.2")
def trailers(harness: Harness) -> None:
    opening = head(200, "content-type: application/json", "transfer-encoding: chunked", "trailer: x-sum")
    harness.teacher.play([opening, chunk(COMPLETION), b"0\r\nx-sum: 1\r\n\r\n"])
    with harness.connect() as connection:
        for _ in range(2):
            connection.send(harness.request("POST", CHAT, chat_body()))
            got = connection.got()
            assert_hello(got)


@check(125, "chunk extensions and hexadecimal in capitals are understood", source="RFC 9112, 7.1.1")
def chunk_extensions(harness: Harness) -> None:
    opening = head(200, "content-type: application/json", "transfer-encoding: chunked")
    first = b"A;name=value\r\n" + COMPLETION[:10] + b"\r\n"
    got = harness.chat([opening, first, chunk(COMPLETION[10:]), chunk(b"")])
    assert_hello(got)


@check(126, "a connection that the teacher has closed costs no request", source="RFC 9112, 9.3.1")
def stale_connection(harness: Harness) -> None:
    for _ in range(3):
        assert harness.chat().status == 200
        harness.teacher.close_idle()


@check(127, "a body that drips in is waited for", source="RFC 9112, 9.5")
def slow_body(harness: Harness) -> None:
    body = chat_body()
    with harness.connect() as connection:
        connection.send(harness.request("POST", CHAT, body)[: -len(body)])
        for start in range(0, len(body), 8):
            time.sleep(0.02)
            connection.send(body[start : start + 8])
        assert connection.got().status == 200
    assert_same_json(harness.teacher.last.body, body)


@check(128, "a head of the teacher in pieces is understood", source="RFC 9112, 2.2")
def head_in_pieces(harness: Harness) -> None:
    answer = reply(200, COMPLETION)
    got = harness.chat([answer[:9], pause(0.02), answer[9:30], pause(0.02), answer[30:]])
    assert_hello(got)


@check(129, "a POST without a body is passed on as such", source="API: Uploads, cancel upload")
def post_without_body(harness: Harness) -> None:
    assert harness.ask("POST", "/uploads/upload_1/cancel").status == 200
    assert harness.teacher.last.body == b""
    assert harness.teacher.last.value("transfer-encoding") is None


@check(130, "an answer without a reason phrase and with odd spaces is understood", source="RFC 9112, 4 and 5")
def odd_head(harness: Harness) -> None:
    with harness.connect() as connection:
        harness.teacher.play(
            [b"HTTP/1.1 200\r\ncontent-type:application/json\r\ncontent-length:  2 \r\n\r\n{}"]
        )
        connection.send(harness.request("GET", "/files") + harness.request("GET", "/files"))
        assert [connection.got("GET").status, connection.got("GET").status] == [200, 200]
