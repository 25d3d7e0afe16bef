"""What a key has under way ends with the key, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.api.app import create_app
from gateway.api.auth import Authenticator, Caller
from gateway.api.dependencies import ApiDependencies
from gateway.api.http.asgi import AsgiMessage
from gateway.api.under_way import OpenWork, UnderWay
from gateway.core import Answer, Request
from gateway.store.keys import KeyFacts, hash_key
from tests.api.site_server import ScriptedFlow

HOLDER = KeyFacts(id="key-1", name="app", tenant="app", created_at=0.0)
HASH = hash_key(b"sd-app")
BODY = b'{"model":"m","messages":[{"role":"user","content":"x"}],"input":"x"}'
EVENTS = ((b"content-type", b"text/event-stream"),)


def caller(key_hash: str) -> Caller:
    return Caller(id="app", is_trusted=True, tenant="app", key_hash=key_hash)


@asynccontextmanager
async def working(open_work: OpenWork, key_hash: str) -> AsyncIterator[tuple[UnderWay, asyncio.Task[None]]]:
    """Run a task that waits for ever; yield its work and the task."""
    begun: asyncio.Future[UnderWay] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        under_way = UnderWay(caller(key_hash), None, open_work)
        open_work.add(under_way)
        begun.set_result(under_way)
        try:
            await asyncio.Event().wait()
        finally:
            under_way.close()

    task = asyncio.create_task(work())
    yield await begun, task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_only_the_work_of_invalid_secrets_is_ended() -> None:
    open_work = OpenWork()
    async with working(open_work, "old") as (ended, task), working(open_work, "new") as (going_on, _):
        assert open_work.end_invalid(lambda key_hash: key_hash == "new") == 1
        await asyncio.wait([task])

        assert ended.ended_by is not None
        assert ended.ended_by.status == 401
        assert going_on.ended_by is None
        assert open_work.end_invalid(lambda _: True) == 0


async def test_closed_work_is_not_ended() -> None:
    open_work = OpenWork()
    async with working(open_work, "old") as (work, _):
        work.close()
        work.close()

        assert open_work.end_invalid(lambda _: False) == 0


@pytest.mark.parametrize(
    ("path", "headers", "told"),
    [
        ("/v1/chat/completions", EVENTS, b'data: {"error":{"message":"This API key has been revoked'),
        ("/v1/responses", EVENTS, b"event: error\ndata: "),
        ("/v1/chat/completions", (*EVENTS, (b"content-encoding", b"gzip")), None),
        ("/v1/chat/completions", ((b"content-type", b"application/json"),), None),
    ],
)
async def test_a_stream_is_ended_with_an_event_where_one_can_follow(
    path: str, headers: tuple[tuple[bytes, bytes], ...], told: bytes | None
) -> None:
    """Anything else is cut: its end is missing, so no client takes it for whole."""
    open_work = OpenWork()
    flow = ScriptedFlow()
    sent: list[AsgiMessage] = []

    async def answer(_: Request) -> Answer:
        return flow.with_body(b"data: {}\n\n", headers=headers, then=asyncio.Event().wait())

    async def send(message: AsgiMessage) -> None:
        sent.append(message)
        if message.get("body") == b"data: {}\n\n":
            asyncio.get_running_loop().call_soon(open_work.end_invalid, lambda _: False)

    flow.answer = answer
    app = create_app(dependencies(flow, open_work))
    await app(scope(path), Body(BODY), send)

    body = b"".join(message.get("body", b"") for message in sent)
    assert sent[-1]["more_body"] is (told is None)
    if told is None:
        assert body == b"data: {}\n\n"
    else:
        assert body.startswith(b"data: {}\n\n" + told)
        assert b"[DONE]" not in body


def dependencies(flow: ScriptedFlow, open_work: OpenWork) -> ApiDependencies:
    async def unused(*_: object) -> object:
        raise NotImplementedError

    return ApiDependencies(
        serve=flow,
        pass_through=unused,  # type: ignore[arg-type]
        open_tunnel=unused,  # type: ignore[arg-type]
        authenticator=Authenticator("keys", {HASH: HOLDER}.get),
        open_work=open_work,
    )


def scope(path: str) -> dict[str, object]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [
            (b"host", b"x"),
            (b"authorization", b"Bearer sd-app"),
            (b"content-length", b"%d" % len(BODY)),
        ],
    }


class Body:
    """A request's body, and then a client that waits."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content

    async def __call__(self) -> AsgiMessage:
        content, self._content = self._content, None
        if content is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": content, "more_body": False}
