"""Where a policy wants it, streams are asked for usage, and the client sees what it would have seen."""

from __future__ import annotations

import pytest

from gateway.cascade.usage_asking import UsageAsker
from gateway.core import Plan, Request
from gateway.upstream.base import Call, Reply
from tests.cascade.fakes import Flow
from tests.support.builders import request

BODY = b'{"model":"giant","messages":[],"stream":true}'
TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n'
DONE = b"data: [DONE]\n\n"


def streaming(**changes: object) -> Request:
    return request(is_streamed=True, body=BODY, **changes)


def create_flow(pieces: tuple[bytes, ...] = (TEXT, USAGE, DONE)) -> Flow:
    flow = Flow()
    flow.the_plan = Plan(policy="p", may_serve=False, because="teacher", asks_usage=True)
    flow.usage_asker = UsageAsker()
    flow.teacher.content_type = b"text/event-stream"
    flow.teacher.pieces = pieces
    return flow


@pytest.mark.parametrize("size", [1, 30, 10_000])
async def test_the_ledger_sees_the_usage_and_the_client_does_not(size: int) -> None:
    stream = TEXT + USAGE + DONE
    flow = create_flow(tuple(stream[at : at + size] for at in range(0, len(stream), size)))

    passed = await flow.read(streaming())

    assert passed == TEXT + DONE
    assert flow.outcome.answer == stream
    (call,) = flow.teacher.calls
    assert b'"stream_options":{"include_usage":true}' in bytes(call.body)  # type: ignore[arg-type]
    assert (b"accept-encoding", b"identity") in call.headers


@pytest.mark.parametrize("changes", [{"wants_usage": True}, {"decoded": BODY}, {"surface": "responses"}])
async def test_a_client_that_asks_itself_or_cannot_be_asked_for_gets_its_own_bytes(
    changes: dict[str, object],
) -> None:
    flow = create_flow()

    passed = await flow.read(streaming(**changes))

    assert [call.body for call in flow.teacher.calls] == [BODY]
    assert passed.startswith(TEXT + USAGE + DONE)


async def test_a_teacher_that_refuses_the_field_is_asked_again_and_then_spared() -> None:
    asker, plan, bodies = UsageAsker(), Plan(policy="p", may_serve=True, asks_usage=True), []
    call = Call(method="POST", target=b"/", headers=(), body=BODY)

    class Nothing:
        async def aclose(self) -> None:
            pass

    async def refuse_field(each: Call) -> Reply:
        bodies.append(each.body)
        return Reply(status=400 if each.body != BODY else 200, headers=(), body=Nothing())  # type: ignore[arg-type]

    changed = asker.change_call(call, streaming(), plan)
    assert changed is not None
    reply, hides_usage = await asker.ask(call, changed, streaming(), refuse_field)

    assert (reply.status, hides_usage, bodies[1]) == (200, False, BODY)
    assert asker.change_call(call, streaming(), plan) is None
    assert asker.change_call(call, streaming(model="another"), plan) is not None
