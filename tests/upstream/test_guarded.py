"""A teacher that fails is not asked more often for it, and no client's own limit makes it a broken one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from gateway.core import Secret
from gateway.errors import UpstreamError
from gateway.upstream.base import Call, Config, Reply, Transport
from gateway.upstream.guarded import GuardedTeacher
from gateway.upstream.providers.openai import create
from tests.upstream.conftest import OK, RawTeacher, read

CHAT = Call(method="POST", target=b"/v1/chat/completions", headers=(), body=b"{}", is_repeatable=True)
GET = Call(method="GET", target=b"/v1/files", headers=(), is_idempotent=True)
FAILED = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"
LIMITED = b"HTTP/1.1 429 Slow\r\ncontent-length: 0\r\nretry-after: 30\r\n\r\n"


def guarded(raw: RawTeacher, client: Transport, **more: object) -> GuardedTeacher:
    config = Config(base_url=raw.origin, first_wait_s=0.001, **more)  # type: ignore[arg-type]
    return GuardedTeacher(create(config, client), config)


async def test_sixty_failing_requests_are_no_storm(client: Transport, raw: RawTeacher) -> None:
    raw.script = [FAILED] * 200
    teacher = guarded(raw, client)

    replies = [await teacher.ask(CHAT) for _ in range(60)]

    assert {reply.status for reply in replies} == {503}
    assert len(raw.asked) <= 66
    assert (teacher.requests, teacher.failures) == (60, len(raw.asked))


async def test_a_passing_failure_is_not_seen_by_the_client(client: Transport, raw: RawTeacher) -> None:
    raw.script = [FAILED]

    reply = await guarded(raw, client).ask(CHAT)

    assert (reply.status, reply.retries, await read(reply.body)) == (200, 1, b"ok")


async def test_with_an_open_circuit_a_lone_teacher_is_asked_all_the_same(
    client: Transport, raw: RawTeacher
) -> None:
    """A call that may fail is better than one that surely does; its success closes the circuit."""
    raw.script = [FAILED] * 7
    teacher = guarded(raw, client)
    while not teacher.circuit.is_open:
        await teacher.ask(CHAT)
    raw.script = [OK]

    assert (await teacher.ask(CHAT)).status == 200
    assert not teacher.circuit.is_open


async def test_a_failed_get_is_not_tried_again_unasked(client: Transport, raw: RawTeacher) -> None:
    raw.script = [FAILED] * 3

    assert (await guarded(raw, client).ask(GET)).status == 503
    assert len(raw.asked) == 1


async def test_a_get_over_a_stale_connection_is_sent_once_more(client: Transport, raw: RawTeacher) -> None:
    teacher = guarded(raw, client)
    await read((await teacher.ask(GET)).body)
    raw.script = [None]

    assert (await teacher.ask(GET)).status == 200
    assert len(raw.asked) == 3


async def test_a_new_connection_that_is_lost_is_no_stale_one(client: Transport, raw: RawTeacher) -> None:
    raw.script = [None]

    with pytest.raises(UpstreamError):
        await guarded(raw, client).ask(GET)
    assert len(raw.asked) == 1


async def test_a_reply_that_had_begun_is_not_asked_for_twice(client: Transport, raw: RawTeacher) -> None:
    await read((await client.send(raw.origin, GET)).body)
    raw.script = [b"HTTP/1.1 200 OK\r\nx-ha"]
    asking = client.send(raw.origin, GET)

    with pytest.raises(UpstreamError):
        await _hung_up(raw, asking)
    assert len(raw.asked) == 2


@pytest.mark.parametrize(("key", "is_open"), [(None, False), (Secret("sk-own"), True)])
async def test_limits_count_only_where_the_key_is_ours(
    client: Transport, raw: RawTeacher, key: Secret | None, is_open: bool
) -> None:
    raw.script = [LIMITED] * 20
    teacher = guarded(raw, client, api_key=key)

    for _ in range(10):
        await teacher.ask(CHAT)

    assert teacher.circuit.is_open is is_open


async def test_a_check_asks_for_the_models(client: Transport, raw: RawTeacher) -> None:
    teacher = guarded(raw, client)
    for _ in range(5):
        teacher.circuit.note_failure(0)

    await teacher.check()

    assert teacher.circuit.state == "half open"
    assert raw.asked[0].startswith(b"GET /v1/models ")


async def _hung_up(raw: RawTeacher, asking: Coroutine[None, None, Reply]) -> None:
    """Close the connections once the request is there."""
    raw.arrived.clear()
    task = asyncio.ensure_future(asking)
    await raw.arrived.wait()
    await asyncio.sleep(0)
    raw.hang_up()
    await task
