"""OpenRouter, as its pages on errors and streaming describe it."""

from __future__ import annotations

import pytest

from gateway.errors import UpstreamCredentialError
from gateway.upstream.base import Reply, Transport
from gateway.upstream.providers import openrouter
from tests.upstream.conftest import RawTeacher, read
from tests.upstream.providers.imitation import Imitation, answer, chat, error_of

DOWN = {"error": {"code": 502, "message": "Provider returned error", "metadata": {"provider_name": "X"}}}


@pytest.fixture
def provider(raw: RawTeacher, client: Transport) -> Imitation:
    return Imitation(openrouter, raw, client)


async def ask(provider: Imitation, raw: RawTeacher, script: bytes) -> Reply:
    raw.script = [script]
    return await provider.teacher("/api/v1").ask(chat())


@pytest.mark.parametrize("status", [401, 402])
async def test_a_key_without_access_or_credits_is_the_operators(provider: Imitation, status: int) -> None:
    with pytest.raises(UpstreamCredentialError):
        await provider.fail(status, {"error": {"code": status, "message": "Insufficient credits"}})


@pytest.mark.parametrize(
    "late",
    [
        DOWN,
        {"choices": [{"index": 0, "finish_reason": "error", "error": DOWN["error"]}]},
    ],
    ids=["alone", "in the choice"],
)
async def test_an_error_behind_a_200_is_an_error_before_the_first_byte(
    provider: Imitation, raw: RawTeacher, late: object
) -> None:
    """Another teacher can still answer."""
    reply = await ask(provider, raw, answer(200, late))

    error = await error_of(reply)
    assert (reply.status, error["message"], error["code"]) == (502, "Provider returned error", "502")


async def test_a_late_error_of_the_account_is_the_operators(provider: Imitation, raw: RawTeacher) -> None:
    with pytest.raises(UpstreamCredentialError):
        await ask(provider, raw, answer(200, {"error": {"code": 402, "message": "no credits"}}))


async def test_an_answer_passes_untouched_behind_its_white_space(
    provider: Imitation, raw: RawTeacher
) -> None:
    script = answer(
        200, b"\n\n  " + b'{"choices":[{"message":{"content":"pong"}}]}', (b"x-generation-id", b"g")
    )

    reply = await ask(provider, raw, script)

    assert (reply.status, await read(reply.body)) == (200, script.partition(b"\r\n\r\n")[2])
    assert (b"x-request-id", b"g") in reply.headers


async def test_a_long_answer_is_not_held_until_its_end(provider: Imitation, raw: RawTeacher) -> None:
    long = b'{"choices":[{"message":{"content":"%b"}}]}' % (b"x" * 1_000_000)

    reply = await ask(provider, raw, answer(200, long))

    assert await read(reply.body) == long


async def test_a_stream_passes_with_its_comments(provider: Imitation, raw: RawTeacher) -> None:
    events = b': OPENROUTER PROCESSING\n\ndata: {"choices":[]}\n\ndata: [DONE]\n\n'
    script = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b"

    reply = await ask(provider, raw, script % (len(events), events))

    assert await read(reply.body) == events


async def test_moderated_input_is_a_refusal(provider: Imitation) -> None:
    flagged = {"reasons": ["violence"], "flagged_input": "...", "provider_name": "X"}

    reply = await provider.fail(403, {"error": {"code": 403, "message": "flagged", "metadata": flagged}})

    assert (reply.status, (await error_of(reply))["code"]) == (400, "content_filter")


async def test_a_guardrail_is_told_in_its_own_words(provider: Imitation) -> None:
    reply = await provider.fail(403, {"error": {"code": 403, "message": "not allowed"}})

    assert (reply.status, (await error_of(reply))["message"]) == (403, "not allowed")


async def test_a_page_that_is_no_json_passes_as_it_is(provider: Imitation) -> None:
    reply = await provider.fail(502, b"<html>")

    assert (reply.status, await read(reply.body)) == (502, b"<html>")
