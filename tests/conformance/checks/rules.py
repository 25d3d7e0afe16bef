"""One door: rules hold on every path and in every spelling, and objects are their makers' alone.

A check of `harness.own` asks a gateway with the teacher's key, where `o3*` is forbidden.
"""

from __future__ import annotations

from tests.conformance.answers import reply, to_json
from tests.conformance.checks.websockets import handshake
from tests.conformance.harness import Harness, WireAnswer, chat_body
from tests.conformance.table import check

NORMAL = "RFC 3986, 6.2.2; CWE-436: interpretation conflict"
BYPASS = "BerriAI/litellm#36646: routes that pass through are outside of access rules"
OWNERS = "OWASP API1:2023, broken object level authorization"
FORM = {"content-type": "multipart/form-data; boundary=X"}
FORBIDDEN = "o3"
UNREAD = "RFC 9110, 9.1: a method's name is case-sensitive; what is not known is not allowed"


def refused(harness: Harness, got: WireAnswer, status: int) -> None:
    """Demand a refusal in the envelope that never reached the teacher."""
    assert got.status == status, f"{got.status} {got.body[:80]!r}"
    assert set(got.json["error"]) == {"message", "type", "param", "code"}
    assert not harness.teacher.seen, harness.teacher.seen[0].target


def spelled(number: int, what: str, path: str) -> None:
    """Enter a check that another spelling of a path is refused where the gateway is the only door."""

    @check(number, f"{what} in a path is refused by a gateway with its own key", source=NORMAL)
    def body(harness: Harness) -> None:
        refused(harness, harness.own.ask("GET", path), 400)


spelled(1101, "a trailing slash", "/files/file-1/")
spelled(1102, "a double slash", "/files//file-1")
spelled(1103, "a dot segment", "/./files/file-1")
spelled(1104, "a step up", "/x/../files/file-1")
spelled(1105, "an encoded step up", "/x/%2e%2e/files/file-1")
spelled(1106, "a step up encoded twice", "/x/%252e%252e/files/file-1")
spelled(1107, "a step up before a parameter", "/x/..;/files/file-1")
spelled(1108, "a matrix parameter", "/files;x=1/file-1")
spelled(1109, "an encoded letter", "/f%69les/file-1")
spelled(1110, "a backslash", "/files\\file-1")
spelled(1111, "an encoded slash", "/files%2ffile-1")
spelled(1112, "an encoded control character", "/files/file%00-1")


@check(1113, "codes of hex digits in either case are one spelling", source="RFC 3986, 6.2.2.1")
def hex_digits(harness: Harness) -> None:
    for path in ("/models/ft%3Agpt-4o", "/models/ft%3agpt-4o", "/models/openai%2Fgpt-4o"):
        assert harness.own.ask("GET", path).status == 200, path
        assert harness.teacher.last.target == f"/v1{path}"


@check(1114, "TRACE and CONNECT are refused in both modes", source="RFC 9110, 9.3.8: it shows credentials")
def trace(harness: Harness) -> None:
    for one in (harness, harness.own):
        refused(harness, one.ask("TRACE", "/files"), 405)


def forbidden(number: int, path: str, body: bytes, headers: dict[str, str] | None = None) -> None:
    """Enter a check that a forbidden model is refused where this path names it."""

    @check(number, f"a forbidden model of {path} is refused", source=BYPASS)
    def asked(harness: Harness) -> None:
        refused(harness, harness.own.ask("POST", path, body, headers), 403)


def part(name: str, value: str, more: str = "") -> str:
    return f'--X\r\ncontent-disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n'


SOUND = part("file", "RIFF", '; filename="a.wav"')
forbidden(1115, "/chat/completions", chat_body(model=FORBIDDEN))
forbidden(1116, "/responses", to_json({"model": FORBIDDEN, "input": "x"}))
forbidden(1117, "/embeddings", to_json({"model": FORBIDDEN, "input": "x"}))
forbidden(1118, "/completions", to_json({"model": FORBIDDEN, "prompt": "x"}))
forbidden(1119, "/images/generations", to_json({"model": FORBIDDEN, "prompt": "x"}))
forbidden(1120, "/audio/speech", to_json({"model": FORBIDDEN, "input": "x"}))
forbidden(1121, "/moderations", to_json({"model": FORBIDDEN, "input": "x"}))
forbidden(1122, "/responses/compact", to_json({"model": FORBIDDEN, "input": "x"}))
forbidden(1123, "/fine_tuning/jobs", to_json({"model": FORBIDDEN, "training_file": "f"}))
forbidden(
    1124, "/audio/transcriptions", f"{part('model', FORBIDDEN)}{SOUND}--X--\r\n".encode(), FORM
)  # fmt: skip


@check(1125, "a second model behind the file of a form is refused", source="RFC 7578, 5.2: order; CWE-235")
def late_model(harness: Harness) -> None:
    form = f"{part('model', 'whisper-1')}{SOUND}{part('model', FORBIDDEN)}--X--\r\n".encode()
    got = harness.own.ask("POST", "/audio/transcriptions", form, FORM)
    assert got.status == 400, got.status


@check(1126, "a realtime websocket of a forbidden model is refused", source=BYPASS)
def websocket(harness: Harness) -> None:
    with harness.own.connect() as connection:
        connection.send(handshake(harness.own, f"/realtime?model={FORBIDDEN}"))
        refused(harness, connection.got("GET"), 403)


def closed(number: int, method: str, path: str) -> None:
    """Enter a check that a path which no rule could hold is closed with the gateway's own key."""

    @check(number, f"{method} {path} is closed to a gateway key", source=UNREAD if "new" in path else BYPASS)
    def body(harness: Harness) -> None:
        refused(harness, harness.own.ask(method, path, b"{}" if method == "POST" else None), 403)
        harness.ask(method, path, b"{}" if method == "POST" else None)
        assert harness.teacher.last.target == f"/v1{path}"


closed(1127, "GET", "/organization/admin_api_keys")
closed(1128, "POST", "/realtime/client_secrets")
closed(1129, "POST", "/batches")
closed(1130, "POST", "/threads/runs")
closed(1131, "DELETE", "/models/gpt-4o")
closed(1132, "GET", "/brand-new")
closed(1133, "PUT", "/files")


def belongs(number: int, kind: str, makes: str, path: str) -> None:
    """Enter a check that an object is its maker's: made, read, changed and listed over the wire."""

    @check(number, f"a {kind} is its maker's alone", source=OWNERS)
    def body(harness: Harness) -> None:
        made = f"{kind}-{number}"
        harness.teacher.play([reply(200, to_json({"id": made, "object": kind}))])
        got = harness.own.ask("POST", makes, to_json({"model": "gpt-4o", "input": "x", "messages": []}))
        assert got.status == 200, got.body
        assert harness.own.ask("GET", path.format(made)).status == 200
        harness.teacher.forget()
        for method in ("GET", "DELETE"):
            refused(harness, harness.own.other.ask(method, path.format(made)), 404)
        refused(harness, harness.own.ask("GET", path.format("unknown")), 404)


belongs(1134, "file", "/files", "/files/{}")
belongs(1135, "conversation", "/conversations", "/conversations/{}")
belongs(1136, "vector_store", "/vector_stores", "/vector_stores/{}")
belongs(1137, "container", "/containers", "/containers/{}")
belongs(1138, "thread", "/threads", "/threads/{}")
belongs(1139, "assistant", "/assistants", "/assistants/{}")
belongs(1140, "response", "/responses", "/responses/{}")


@check(1141, "a conversation is not continued by another tenant", source=OWNERS)
def continued(harness: Harness) -> None:
    harness.teacher.play([reply(200, to_json({"id": "resp_1141", "object": "response"}))])
    harness.own.ask("POST", "/responses", to_json({"model": "gpt-4o", "input": "x"}))
    harness.teacher.forget()
    turn = to_json({"model": "gpt-4o", "input": "x", "previous_response_id": "resp_1141"})
    refused(harness, harness.own.other.ask("POST", "/responses", turn), 404)
    assert harness.own.ask("POST", "/responses", turn).status == 200


@check(1142, "lists of the whole account are refused to a gateway key", source=OWNERS)
def lists(harness: Harness) -> None:
    for path in ("/files", "/batches", "/chat/completions", "/vector_stores", "/fine_tuning/jobs"):
        refused(harness, harness.own.ask("GET", path), 403)
