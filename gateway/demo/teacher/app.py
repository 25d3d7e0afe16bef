"""The simulated teacher as an ASGI app."""

from __future__ import annotations

import time
from collections import deque

import msgspec

from gateway.api.http.asgi import Receive, Scope, Send
from gateway.core import Header
from gateway.demo.teacher.answers import (
    HttpAnswer,
    answer_chat,
    answer_embeddings,
    answer_error,
    list_models,
    read_pairs,
    show_model,
)
from gateway.demo.teacher.asgi import ClientLeftError, read_body, sleep_connected
from gateway.demo.teacher.faults import Fault, send_faulty

LABEL: Header = (b"x-simulated-teacher", b"true")
SEEN_KEPT = 1_000
LEFT_KEPT = 10_000


class SeenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it arrived. `target` is raw path and query; in JSON `body` is base64."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        """Return every value of a header, in order."""
        return [value for key, value in self.headers if key == name]


class _User(msgspec.Struct):
    user: str = ""


_users = msgspec.json.Decoder(_User)


class SimulatedTeacher:
    """Answers from recorded pairs, keeps the requests it saw, fails on demand.

    `pairs` maps the text of the last user message to the answer. With `api_key` set every
    other bearer key gets the 401 of OpenAI. Attributes and methods may be used from any thread.
    """

    def __init__(
        self,
        pairs: dict[str, str] | None = None,
        *,
        model: str = "gpt-4o",
        latency_ms: float = 0,
        api_key: str | None = None,
    ) -> None:
        self.pairs = pairs or {}
        self.model = model
        self.latency_ms = latency_ms
        self.api_key = api_key
        self.seen: deque[SeenRequest] = deque(maxlen=SEEN_KEPT)
        self.requests = 0
        self.cancelled = 0
        """Requests that lost their client before the answer was complete."""
        self._left: deque[tuple[str, float]] = deque(maxlen=LEFT_KEPT)
        self._faults: deque[Fault] = deque()

    def fail_next(self, fault: Fault, times: int = 1) -> None:
        """Script `fault` for `times` requests, after the faults scripted already."""
        self._faults.extend([fault] * times)

    def forget(self) -> None:
        """Drop the requests seen, the counters and the unused faults."""
        self.seen.clear()
        self._left.clear()
        self._faults.clear()
        self.requests = self.cancelled = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_control = scope["path"].startswith("/__teacher/")
        body = b""
        try:
            body = await read_body(receive)
            if is_control:
                await self._control(scope, body, send)
            else:
                await self._serve(scope, body, receive, send)
        except ClientLeftError:
            self.cancelled += 1
            self._left.append((_read_user(body), time.monotonic()))

    async def _serve(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        self.requests += 1
        self.seen.append(_to_seen(scope, body))
        if self.latency_ms:
            await sleep_connected(receive, self.latency_ms / 1000)
        answer = self._answer(scope, body)
        if self._faults:
            await send_faulty(self._faults.popleft(), answer, LABEL, receive, send)
        else:
            await _send_answer(send, answer)

    def _answer(self, scope: Scope, body: bytes) -> HttpAnswer:
        if self.api_key is not None and not _has_key(scope, self.api_key):
            return answer_error(401, "Incorrect API key provided.", "invalid_api_key")
        match scope["method"], scope["path"]:
            case "POST", "/v1/chat/completions":
                return answer_chat(body, self.pairs, self.requests)
            case "POST", "/v1/embeddings":
                return answer_embeddings(body)
            case "GET", "/v1/models":
                return list_models(self.model)
            case "GET", path if path == f"/v1/models/{self.model}":
                return show_model(self.model)
            case method, path:
                return answer_error(404, f"Invalid URL ({method} {path})")

    async def _control(self, scope: Scope, body: bytes, send: Send) -> None:
        verb = scope["method"], scope["path"].removeprefix("/__teacher/")
        try:
            self._change(verb, body)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            await _send_answer(send, answer_error(400, str(exc)))
            return
        report = {"requests": self.requests, "cancelled": self.cancelled, "pairs": len(self.pairs)}
        latest = {"latest": list(self.seen), "left": dict(self._left)} if verb == ("GET", "seen") else {}
        await _send_answer(send, HttpAnswer(200, b"application/json", msgspec.json.encode(report | latest)))

    def _change(self, verb: tuple[str, str], body: bytes) -> None:
        match verb:
            case "PUT", "pairs":
                self.pairs = read_pairs(body.splitlines())
            case "PUT", "latency":
                self.latency_ms = msgspec.json.decode(body, type=float)
            case "POST", "faults":
                self._faults.extend(msgspec.json.decode(body, type=list[Fault]))
            case "DELETE", "faults":
                self._faults.clear()
            case "DELETE", "seen":
                self.seen.clear()
            case "GET", "seen":
                pass
            case _:
                raise msgspec.ValidationError(f"no such verb: {verb}")


async def _send_answer(send: Send, answer: HttpAnswer) -> None:
    headers = [LABEL, (b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _read_user(body: bytes) -> str:
    try:
        return _users.decode(body).user
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _to_seen(scope: Scope, body: bytes) -> SeenRequest:
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return SeenRequest(method=scope["method"], target=target.decode("latin-1"), headers=headers, body=body)


def _has_key(scope: Scope, key: str) -> bool:
    return (b"authorization", b"Bearer " + key.encode()) in scope["headers"]
