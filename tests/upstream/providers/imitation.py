"""A provider as its documents describe it: what it is asked, and what it answers."""

from __future__ import annotations

import json
from types import ModuleType

import msgspec

from gateway.core import Header, Secret
from gateway.upstream.base import Call, Config, Reply, Transport
from gateway.upstream.compatible import CompatibleTeacher
from tests.upstream.conftest import RawTeacher, read

CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"ping"}]}'
KEY = "sk-of-the-gateway"


def chat(body: bytes = CHAT, target: bytes = b"/v1/chat/completions") -> Call:
    """Return a request of a client."""
    return Call(method="POST", target=target, headers=(), body=body, is_repeatable=True)


def get(target: bytes) -> Call:
    """Return a GET of a client."""
    return Call(method="GET", target=target, headers=())


def answer(status: int, content: object, *headers: Header) -> bytes:
    """Return the bytes of a JSON answer; a str or bytes is its body as it is."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n%b" % (
        status,
        len(body),
        lines,
        body,
    )


class Imitation:
    """One provider before a scripted server; with `key=None` clients bring their own."""

    def __init__(self, provider: ModuleType, raw: RawTeacher, client: Transport) -> None:
        self._provider = provider
        self._raw = raw
        self._client = client

    def teacher(self, path: str = "/v1", key: str | None = KEY, **options: object) -> CompatibleTeacher:
        """Return the teacher below `path` of the server."""
        config = Config(base_url=self._raw.origin + path, api_key=None if key is None else Secret(key))
        known = msgspec.convert(options, self._provider.Config)
        teacher: CompatibleTeacher = self._provider.create(config, self._client, "", known)
        return teacher

    async def fail(self, status: int, content: object, *headers: Header, key: str | None = KEY) -> Reply:
        """Return what becomes of an answer that is none."""
        self._raw.script = [answer(status, content, *headers)]
        return await self.teacher(key=key).ask(chat())

    @property
    def target(self) -> str:
        """The target that was asked last."""
        return self._raw.asked[-1].split(b" ")[1].decode()

    @property
    def headers(self) -> dict[str, str]:
        """The headers that came with it."""
        lines = self._raw.asked[-1].partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return dict(line.split(": ", 1) for line in lines)


async def error_of(reply: Reply) -> dict[str, object]:
    """Return the error as OpenAI's clients read it."""
    content = await read(reply.body)
    assert dict(reply.headers)[b"content-length"] == str(len(content)).encode()
    error: dict[str, object] = json.loads(content)["error"]
    return error
