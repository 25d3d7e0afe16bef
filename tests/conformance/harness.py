"""What a check works with: a client on raw sockets, the gateway between, the scripted teacher."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from tests.conformance.answers import encoded
from tests.conformance.table import SkipError
from tests.conformance.teacher import Play, Teacher
from tests.conformance.wire import LINE, Head, Source, read_body

TIMEOUT_S = 8.0
FORWARDED = "Bearer sk-conformance"
BODILESS = {"204", "304"}
Headers = Mapping[str, str]


class Got(msgspec.Struct, frozen=True):
    """An answer as it came. `is_whole` says that its framing ended as it should."""

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


class Plug:
    """One connection to the gateway."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=TIMEOUT_S)
        self.source = Source(self.socket)
        self.hints: list[Head] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None
    ) -> None:
        self.leave()

    def send(self, data: bytes) -> None:
        """Send `data`."""
        self.socket.sendall(data)

    def leave(self) -> None:
        """Close the connection."""
        self.socket.close()

    def head(self) -> Head:
        """Return the head of the next final answer; those of 1xx are kept in `hints`."""
        while head := self.source.head():
            if not head.first.split(" ")[1].startswith("1") or head.first.split(" ")[1] == "101":
                return head
            self.hints.append(head)
        raise AssertionError("the connection was closed without an answer")

    def got(self, method: str = "POST") -> Got:
        """Return the next answer."""
        head = self.head()
        if method == "HEAD" or head.first.split(" ")[1] in BODILESS:
            return Got(head, b"", True)
        try:
            return Got(head, read_body(self.source, head, ends_by_close=True), True)
        except (EOFError, ConnectionResetError) as fault:
            return Got(head, fault.args[0] if isinstance(fault, EOFError) else b"", False)

    @property
    def is_closed(self) -> bool:
        """Whether the other side has closed, or does so now."""
        with contextlib.suppress(ConnectionResetError):
            return not self.source.more()
        return True


class Lab:
    """The gateway under test. `local` and `encoder` are models which it answers itself, if it has any."""

    def __init__(
        self,
        base_url: str,
        teacher: Teacher,
        headers: Headers | None = None,
        *,
        local: str | None = None,
        encoder: str | None = None,
    ) -> None:
        url = urlsplit(base_url)
        self.address = (url.hostname or "127.0.0.1", url.port or 80)
        self.prefix = url.path.rstrip("/")
        self.teacher = teacher
        self.headers = {"authorization": FORWARDED, **(headers or {})}
        self._local = local
        self._encoder = encoder

    @property
    def local(self) -> str:
        """The model which the gateway answers itself. Raises SkipError."""
        if self._local is None:
            raise SkipError("this gateway has no specialist of its own to be asked")
        return self._local

    @property
    def encoder(self) -> str:
        """The encoder which the gateway has itself. Raises SkipError."""
        if self._encoder is None:
            raise SkipError("this gateway has no encoder of its own to be asked")
        return self._encoder

    @property
    def stranger(self) -> Headers:
        """The headers of somebody else, where the gateway lets the teacher judge keys.

        So that it may draw conclusions from a refusal of the teacher's.
        """
        return {"authorization": "Bearer sk-refused"} if self.headers["authorization"] == FORWARDED else {}

    def connect(self) -> Plug:
        """Open a connection."""
        return Plug(self.address)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Headers | None = None, *more: str
    ) -> bytes:
        """Return a request; `more` are whole header lines, `path` is what follows `/v1`."""
        given = {"host": f"{self.address[0]}:{self.address[1]}", **self.headers, **(headers or {})}
        if body is not None and "transfer-encoding" not in given:
            given = {"content-type": "application/json", "content-length": str(len(body)), **given}
        lines = [f"{name}: {value}" for name, value in given.items()]
        head = "\r\n".join((f"{method} {self.prefix}{path} HTTP/1.1", *lines, *more)) + "\r\n\r\n"
        return head.encode("latin-1") + (body or b"")

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Headers | None = None, *more: str
    ) -> Got:
        """Send one request on a connection of its own and return the answer."""
        with self.connect() as plug:
            plug.send(self.request(method, path, body, headers, *more))
            return plug.got(method)

    def chat(self, *plays: Play, headers: Headers | None = None, **fields: object) -> Got:
        """Ask for a chat completion which the teacher answers by `plays`."""
        self.teacher.play(*plays)
        return self.ask("POST", "/chat/completions", question(**fields), headers)

    def locally(self, said: str, path: str = "/chat/completions", **fields: object) -> Got:
        """Ask the specialist. Raises SkipError where there is none."""
        asked = {"input": said} if path == "/responses" else {"messages": [{"role": "user", "content": said}]}
        got = self.ask("POST", path, encoded({"model": self.local, **asked, **fields}))
        assert not self.teacher.seen, "the teacher was asked"
        assert got.status == 200, got.body.decode()
        return got


def says_hello(got: Got) -> None:
    """Demand the teacher's usual answer in sense, where its bytes are not the point."""
    assert (got.status, got.is_whole) == (200, True), f"{got.status}: {_shown(got.body)}"
    said = got.json["choices"][0]["message"]["content"]
    assert said == "Hello!", said


def question(**fields: object) -> bytes:
    """Return the body of a chat completion."""
    return encoded({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], **fields})


def spelled(data: bytes) -> Any:
    """Return JSON with the order of its fields and the spelling of its numbers kept."""
    return json.loads(data, object_pairs_hook=list, parse_float=str, parse_int=str)


def same(got: bytes, wanted: bytes) -> None:
    """Demand the same fields in the same order with the same spelling."""
    assert spelled(got) == spelled(wanted), f"{_shown(got)} instead of {_shown(wanted)}"


def identical(got: bytes, wanted: bytes) -> None:
    """Demand the same bytes."""
    assert got == wanted, f"{_shown(got)} instead of {_shown(wanted)}"


def same_content(got: bytes, got_kind: str, wanted: bytes, wanted_kind: str) -> None:
    """Demand the same content: JSON as `same`, forms part by part, anything else to the byte."""
    if wanted_kind.startswith("application/json") and wanted:
        same(got, wanted)
    elif wanted_kind.startswith("multipart/"):
        assert parts(got, got_kind) == parts(wanted, wanted_kind), (
            f"{_shown(got)} instead of {_shown(wanted)}"
        )
    else:
        identical(got, wanted)


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
