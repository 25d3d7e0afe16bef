"""How messages begin and end on a connection, in both directions."""

from __future__ import annotations

import time

from tests.conformance.answers import COMPLETION, chunk, head, reply
from tests.conformance.harness import Lab, identical, question, same, says_hello
from tests.conformance.table import check
from tests.conformance.teacher import cut, pause

CHAT = "/chat/completions"
BIG = bytes(range(256)) * 16384


@check(101, "a request with content-length arrives with that length", source="RFC 9112, 6.2")
def content_length_up(lab: Lab) -> None:
    body = question()
    lab.ask("POST", CHAT, body)
    same(lab.teacher.last.body, body)
    assert lab.teacher.last.value("content-length") == str(len(lab.teacher.last.body))


@check(102, "a chat request in chunks arrives whole", source="RFC 9112, 7.1")
def chunked_chat(lab: Lab) -> None:
    body = question()
    with lab.connect() as plug:
        plug.send(
            lab.request(
                "POST", CHAT, headers={"transfer-encoding": "chunked", "content-type": "application/json"}
            )
        )
        for start in range(0, len(body), 7):
            plug.send(chunk(body[start : start + 7]))
        plug.send(chunk(b""))
        assert plug.got().status == 200
    same(lab.teacher.last.body, body)


@check(103, "an upload in chunks arrives whole", source="RFC 9112, 7.1")
def chunked_upload(lab: Lab) -> None:
    with lab.connect() as plug:
        kind = {"transfer-encoding": "chunked", "content-type": "multipart/form-data; boundary=x"}
        plug.send(lab.request("POST", "/files", headers=kind))
        plug.send(b"".join(map(chunk, (b"--x\r\n", BIG[:70_000], b"\r\n--x--", b""))))
        assert plug.got().status == 200
    identical(lab.teacher.last.body, b"--x\r\n" + BIG[:70_000] + b"\r\n--x--")


@check(104, "an answer with content-length keeps it", source="RFC 9112, 6.2")
def content_length_down(lab: Lab) -> None:
    got = lab.chat()
    says_hello(got)
    assert got.value("content-length") == str(len(got.body))


@check(105, "an answer in chunks arrives whole and ends as such", source="RFC 9112, 7.1")
def chunked_down(lab: Lab) -> None:
    pieces = [chunk(COMPLETION[start : start + 11]) for start in range(0, len(COMPLETION), 11)]
    opening = head(200, "content-type: application/json", "transfer-encoding: chunked")
    got = lab.chat([opening, *pieces, chunk(b"")])
    says_hello(got)


@check(106, "an answer which ends with its connection arrives whole", source="RFC 9112, 6.3 (8)")
def until_close(lab: Lab) -> None:
    got = lab.chat([head(200, "content-type: application/json", "connection: close"), COMPLETION, cut])
    says_hello(got)


@check(107, "HEAD gets the length but no body, and the connection lives on", source="RFC 9110, 9.3.2")
def head_request(lab: Lab) -> None:
    lab.teacher.play([head(200, "content-type: application/json", "content-length: 1234")])
    with lab.connect() as plug:
        plug.send(lab.request("HEAD", "/files/file-1/content"))
        got = plug.got("HEAD")
        assert (got.status, got.value("content-length")) == (200, "1234")
        plug.send(lab.request("GET", "/files"))
        assert plug.got("GET").status == 200


@check(108, "204 has neither a body nor a length", source="RFC 9110, 8.6")
def no_content(lab: Lab) -> None:
    lab.teacher.play([head(204, "x-kept: 1")])
    with lab.connect() as plug:
        plug.send(lab.request("DELETE", "/files/file-1"))
        got = plug.got("DELETE")
        assert (got.status, got.value("x-kept")) == (204, "1")
        assert got.value("content-length") is None
        assert got.value("transfer-encoding") is None
        plug.send(lab.request("GET", "/files"))
        assert plug.got("GET").status == 200


@check(109, "304 keeps its validators and has no body", source="RFC 9110, 15.4.5")
def not_modified(lab: Lab) -> None:
    lab.teacher.play([head(304, 'etag: "a"')])
    got = lab.ask("GET", "/files/file-1/content", headers={"if-none-match": '"a"'})
    assert (got.status, got.value("etag")) == (304, '"a"')
    assert lab.teacher.last.value("if-none-match") == '"a"'


@check(110, "a connection is kept for the next request", source="RFC 9112, 9.3")
def keep_alive(lab: Lab) -> None:
    with lab.connect() as plug:
        for _ in range(3):
            plug.send(lab.request("POST", CHAT, question()))
            assert plug.got().status == 200


@check(111, "pipelined requests are answered in their order", source="RFC 9112, 9.3.2")
def pipelined(lab: Lab) -> None:
    lab.teacher.play([pause(0.05), reply(200, b'"first"')], [reply(200, b'"second"')])
    with lab.connect() as plug:
        plug.send(lab.request("GET", "/files?1") + lab.request("GET", "/files?2"))
        assert [plug.got("GET").body, plug.got("GET").body] == [b'"first"', b'"second"']


@check(112, "connection: close is obeyed", source="RFC 9112, 9.6")
def connection_close(lab: Lab) -> None:
    with lab.connect() as plug:
        plug.send(lab.request("POST", CHAT, question(), {"connection": "close"}))
        assert plug.got().status == 200
        assert plug.is_closed


@check(113, "a client of HTTP/1.0 gets no chunks, and the connection ends", source="RFC 9112, 6.1")
def http_1_0(lab: Lab) -> None:
    with lab.connect() as plug:
        plug.send(
            lab.request("POST", CHAT, question(), {"connection": "close"}).replace(
                b"HTTP/1.1", b"HTTP/1.0", 1
            )
        )
        got = plug.got()
        says_hello(got)
        assert plug.is_closed


@check(114, "expect: 100-continue is answered before the body is sent", source="RFC 9110, 10.1.1")
def expect_continue(lab: Lab) -> None:
    body = question()
    with lab.connect() as plug:
        head_only = lab.request("POST", CHAT, body, {"expect": "100-continue"})[: -len(body)]
        plug.send(head_only)
        interim = plug.source.head()
        assert interim, "the connection was closed"
        assert interim.first.split(" ")[1] == "100"
        plug.send(body)
        assert plug.got().status == 200
    same(lab.teacher.last.body, body)


@check(115, "an interim answer of the teacher does not stand for the final one", source="RFC 9110, 15.2")
def interim_answer(lab: Lab) -> None:
    got = lab.chat([b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", reply(200, COMPLETION)])
    says_hello(got)


@check(116, "4 MB of a chat request arrive whole", source="API: Images and vision, file size limits")
def big_request(lab: Lab) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 1_000_000}}
    body = question(messages=[{"role": "user", "content": [part]}])
    assert lab.ask("POST", CHAT, body).status == 200
    same(lab.teacher.last.body, body)


@check(117, "8 MB of an answer arrive whole", source="API: Files, retrieve file content")
def big_answer(lab: Lab) -> None:
    lab.teacher.play([reply(200, BIG * 2, kind="application/octet-stream")])
    got = lab.ask("GET", "/files/file-1/content")
    identical(got.body, BIG * 2)


@check(118, "an empty answer stays empty", source="RFC 9110, 8.6")
def empty_answer(lab: Lab) -> None:
    lab.teacher.play([reply(200, b"")])
    got = lab.ask("POST", "/anything", b"{}")
    assert (got.status, got.body, got.is_whole) == (200, b"", True)


@check(119, "a head in single bytes is understood", source="RFC 9112, 2.2")
def head_in_bytes(lab: Lab) -> None:
    body = question()
    with lab.connect() as plug:
        for byte in lab.request("POST", CHAT, body):
            plug.send(bytes([byte]))
        assert plug.got().status == 200
    same(lab.teacher.last.body, body)


@check(120, "a length beside chunks smuggles no second request", source="RFC 9112, 6.3 (3)")
def smuggling(lab: Lab) -> None:
    hidden = lab.request("DELETE", "/files/victim")
    with lab.connect() as plug:
        lengths = {"transfer-encoding": "chunked", "content-length": str(len(chunk(b"")) + len(hidden))}
        plug.send(lab.request("POST", "/files", headers=lengths) + chunk(b"") + hidden)
        plug.got()
        # Whoever takes the chunks for the body must not read on: the peer may have meant the length.
        time.sleep(0.1)
    assert not [taught for taught in lab.teacher.seen if taught.method == "DELETE"], "the hidden request ran"


@check(121, "two lengths which differ are refused", source="RFC 9112, 6.3 (5)")
def two_lengths(lab: Lab) -> None:
    with lab.connect() as plug:
        plug.send(lab.request("POST", "/files", b"{}", {"content-length": "2"}, "content-length: 3"))
        got = plug.got()
        assert got.status == 400
    assert not lab.teacher.seen


@check(122, "a request of HTTP/1.1 without a host is refused", source="RFC 9112, 3.2")
def no_host(lab: Lab) -> None:
    with lab.connect() as plug:
        plug.send(lab.request("GET", "/models").replace(b"host: ", b"x-host: ", 1))
        got = plug.got("GET")
        assert got.status == 400


@check(123, "two hosts are refused", source="RFC 9112, 3.2")
def two_hosts(lab: Lab) -> None:
    with lab.connect() as plug:
        plug.send(lab.request("GET", "/models", None, None, "host: other"))
        got = plug.got("GET")
        assert got.status == 400


@check(124, "trailers after a chunked answer harm nothing", source="RFC 9112, 7.1.2")
def trailers(lab: Lab) -> None:
    opening = head(200, "content-type: application/json", "transfer-encoding: chunked", "trailer: x-sum")
    lab.teacher.play([opening, chunk(COMPLETION), b"0\r\nx-sum: 1\r\n\r\n"])
    with lab.connect() as plug:
        for _ in range(2):
            plug.send(lab.request("POST", CHAT, question()))
            got = plug.got()
            says_hello(got)


@check(125, "chunk extensions and hexadecimal in capitals are understood", source="RFC 9112, 7.1.1")
def chunk_extensions(lab: Lab) -> None:
    opening = head(200, "content-type: application/json", "transfer-encoding: chunked")
    first = b"A;name=value\r\n" + COMPLETION[:10] + b"\r\n"
    got = lab.chat([opening, first, chunk(COMPLETION[10:]), chunk(b"")])
    says_hello(got)


@check(126, "a connection which the teacher has closed meanwhile costs no request", source="RFC 9112, 9.3.1")
def stale_connection(lab: Lab) -> None:
    for _ in range(3):
        assert lab.chat().status == 200
        lab.teacher.close_idle()


@check(127, "a body which drips in is waited for", source="RFC 9112, 9.5")
def slow_body(lab: Lab) -> None:
    body = question()
    with lab.connect() as plug:
        plug.send(lab.request("POST", CHAT, body)[: -len(body)])
        for start in range(0, len(body), 8):
            time.sleep(0.02)
            plug.send(body[start : start + 8])
        assert plug.got().status == 200
    same(lab.teacher.last.body, body)


@check(128, "a head of the teacher in pieces is understood", source="RFC 9112, 2.2")
def head_in_pieces(lab: Lab) -> None:
    answer = reply(200, COMPLETION)
    got = lab.chat([answer[:9], pause(0.02), answer[9:30], pause(0.02), answer[30:]])
    says_hello(got)


@check(129, "a POST without a body is passed on as such", source="API: Uploads, cancel upload")
def post_without_body(lab: Lab) -> None:
    assert lab.ask("POST", "/uploads/upload_1/cancel").status == 200
    assert lab.teacher.last.body == b""
    assert lab.teacher.last.value("transfer-encoding") is None


@check(130, "an answer without a reason phrase and with odd spaces is understood", source="RFC 9112, 4 and 5")
def odd_head(lab: Lab) -> None:
    with lab.connect() as plug:
        lab.teacher.play([b"HTTP/1.1 200\r\ncontent-type:application/json\r\ncontent-length:  2 \r\n\r\n{}"])
        plug.send(lab.request("GET", "/files") + lab.request("GET", "/files"))
        assert [plug.got("GET").status, plug.got("GET").status] == [200, 200]
