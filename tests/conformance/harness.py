"""The parts of a check: a client on raw sockets, the gateway between, the scripted teacher."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from tests.conformance.answers import to_json
from tests.conformance.table import SkipError
from tests.conformance.teacher import Play, Teacher
from tests.conformance.wire import LINE, Head, MessageReader, read_body

TIMEOUT_S = 8.0
FORWARDED = "Bearer sk-conformance"
BODILESS = {"204", "304"}
Headers = Mapping[str, str]


class WireAnswer(msgspec.Struct, frozen=True):
    """An answer as it arrived. `is_whole` says that its framing ended as it should."""

    head: Head
    body: bytes
    is_whole: bool

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head.first.split(" ")[1])

    def value(self, name: str) -> str | None:
        """Return the only value of a header, None without one."""
        return self.head.value(name)

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The JSON of each event; `[DONE]` stays text."""
        blocks = self.body.decode().replace("\r\n", "\n").split("\n\n")
        data = [line[6:] for block in blocks for line in block.split("\n") if line.startswith("data: ")]
        return [text if text == "[DONE]" else json.loads(text) for text in data]


class Connection:
    """One connection to the gateway."""

    def __init__(self, address: tuple[str, int], timeout_s: float) -> None:
        self.socket = socket.create_connection(address, timeout=timeout_s)
        self.reader = MessageReader(self.socket)
        self.hints: list[Head] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None
    ) -> None:
        self.leave()

    def send(self, data: bytes) -> None:
        """Send `data`."""
        self.socket.sendall(data)

    def leave(self) -> None:
        """Close the connection."""
        self.socket.close()

    def head(self) -> Head:
        """Return the head of the next final answer; heads of 1xx are kept in `hints`."""
        while head := self.reader.read_head():
            if not head.first.split(" ")[1].startswith("1") or head.first.split(" ")[1] == "101":
                return head
            self.hints.append(head)
        raise AssertionError("the connection was closed without an answer")

    def got(self, method: str = "POST") -> WireAnswer:
        """Return the next answer."""
        head = self.head()
        if method == "HEAD" or head.first.split(" ")[1] in BODILESS:
            return WireAnswer(head, b"", True)
        try:
            return WireAnswer(head, read_body(self.reader, head, ends_by_close=True), True)
        except (EOFError, ConnectionResetError) as exc:
            return WireAnswer(head, exc.args[0] if isinstance(exc, EOFError) else b"", False)

    @property
    def is_closed(self) -> bool:
        """Whether the other side has closed, or does so now."""
        with contextlib.suppress(ConnectionResetError):
            return not self.reader.read_some()
        return True


class Harness:
    """The gateway under test. `local` and `encoder` are models that it answers itself, if it has any.

    `own` is the gateway where it holds the teacher's key and knows its clients by keys of its own.
    """

    def __init__(
        self,
        base_url: str,
        teacher: Teacher,
        headers: Headers | None = None,
        *,
        local: str | None = None,
        encoder: str | None = None,
        own: Harness | None = None,
        other: Harness | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        url = urlsplit(base_url)
        self.address = (url.hostname or "127.0.0.1", url.port or 80)
        self.prefix = url.path.rstrip("/")
        self.teacher = teacher
        self.headers = {"authorization": FORWARDED, **(headers or {})}
        self._local = local
        self._encoder = encoder
        self._own = own
        self._other = other
        self._timeout_s = timeout_s

    @property
    def local(self) -> str:
        """The model that the gateway answers itself. Raises SkipError."""
        if self._local is None:
            raise SkipError("this gateway has no specialist of its own")
        return self._local

    @property
    def encoder(self) -> str:
        """The encoder that the gateway has itself. Raises SkipError."""
        if self._encoder is None:
            raise SkipError("this gateway has no encoder of its own")
        return self._encoder

    @property
    def own(self) -> Harness:
        """The same gateway where it holds the teacher's key, before the same teacher. Raises SkipError."""
        if self._own is None:
            raise SkipError("this gateway was not started with a key of its own")
        return self._own

    @property
    def other(self) -> Harness:
        """The same gateway to a client of another tenant. Raises SkipError."""
        if self._other is None:
            raise SkipError("this gateway knows one tenant")
        return self._other

    @property
    def refused_key(self) -> Headers:
        """The headers of another client, where the gateway lets the teacher judge keys.

        The gateway may draw conclusions about a key that the teacher refuses.
        """
        return {"authorization": "Bearer sk-refused"} if self.headers["authorization"] == FORWARDED else {}

    def connect(self) -> Connection:
        """Open a connection."""
        return Connection(self.address, self._timeout_s)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Headers | None = None, *more: str
    ) -> bytes:
        """Return a request; `more` are whole header lines, `path` is the part after `/v1`."""
        given = {"host": f"{self.address[0]}:{self.address[1]}", **self.headers, **(headers or {})}
        if body is not None and "transfer-encoding" not in given:
            given = {"content-type": "application/json", "content-length": str(len(body)), **given}
        lines = [f"{name}: {value}" for name, value in given.items()]
        head = "\r\n".join((f"{method} {self.prefix}{path} HTTP/1.1", *lines, *more)) + "\r\n\r\n"
        return head.encode("latin-1") + (body or b"")

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Headers | None = None, *more: str
    ) -> WireAnswer:
        """Send one request on a new connection and return the answer."""
        with self.connect() as connection:
            connection.send(self.request(method, path, body, headers, *more))
            return connection.got(method)

    def chat(self, *plays: Play, headers: Headers | None = None, **fields: object) -> WireAnswer:
        """Ask for a chat completion that the teacher answers by `plays`."""
        self.teacher.play(*plays)
        return self.ask("POST", "/chat/completions", chat_body(**fields), headers)

    def ask_locally(self, user_text: str, path: str = "/chat/completions", /, **fields: object) -> WireAnswer:
        """Ask the specialist. Raises SkipError where there is none."""
        messages = [{"role": "user", "content": user_text}]
        prompt = {"input": user_text} if path == "/responses" else {"messages": messages}
        got = self.ask("POST", path, to_json({"model": self.local, **prompt, **fields}))
        assert not self.teacher.seen, "the teacher was asked"
        assert got.status == 200, got.body.decode()
        return got


def best_of_three(attempt: Callable[[], None]) -> None:
    """Run `attempt` until it passes, three times at most: a busy machine may be late once."""
    for tries_left in (2, 1, 0):
        try:
            attempt()
        except AssertionError:
            if not tries_left:
                raise
        else:
            return


def assert_hello(got: WireAnswer) -> None:
    """Demand the content of the teacher's default answer, where its bytes do not matter."""
    assert (got.status, got.is_whole) == (200, True), f"{got.status}: {_shown(got.body)}"
    text = got.json["choices"][0]["message"]["content"]
    assert text == "Hello!", text


def chat_body(**fields: object) -> bytes:
    """Return the body of a chat completion."""
    return to_json({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], **fields})


def parse_spelling(data: bytes) -> Any:
    """Return JSON that keeps the order of its fields and the spelling of its numbers."""
    return json.loads(data, object_pairs_hook=list, parse_float=str, parse_int=str)


def assert_same_json(got: bytes, wanted: bytes) -> None:
    """Demand the same fields in the same order with the same spelling."""
    assert parse_spelling(got) == parse_spelling(wanted), f"{_shown(got)} instead of {_shown(wanted)}"


def assert_identical(got: bytes, wanted: bytes) -> None:
    """Demand the same bytes."""
    assert got == wanted, f"{_shown(got)} instead of {_shown(wanted)}"


def assert_same_content(got: bytes, got_kind: str, wanted: bytes, wanted_kind: str) -> None:
    """Demand the same content: JSON as in `assert_same_json`, forms part by part, all else byte for byte."""
    if wanted_kind.startswith("application/json") and wanted:
        assert_same_json(got, wanted)
    elif wanted_kind.startswith("multipart/"):
        assert parts(got, got_kind) == parts(wanted, wanted_kind), (
            f"{_shown(got)} instead of {_shown(wanted)}"
        )
    else:
        assert_identical(got, wanted)


def parts(form: bytes, kind: str) -> list[tuple[str, bytes]]:
    """Return disposition and content of each part of a form."""
    boundary = kind.partition("boundary=")[2].strip('"').encode()
    found = []
    for part in form.split(b"--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(LINE).partition(LINE + LINE)
        lines = head.decode().split("\r\n")
        found.append((next(line for line in lines if "form-data" in line).partition(": ")[2], content))
    return found


def _shown(data: bytes) -> str:
    return f"{data[:120]!r}{'...' if len(data) > 120 else ''} ({len(data)} bytes)"
