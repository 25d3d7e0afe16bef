"""DeepSeek, as its pages on error codes, rate limits and the cache describe it."""

from __future__ import annotations

import pytest

from gateway.errors import UpstreamCredentialError
from gateway.upstream.base import Transport
from gateway.upstream.providers import deepseek
from gateway.wire.chat.reading import parse_answer
from tests.upstream.conftest import RawTeacher, read
from tests.upstream.providers.imitation import Imitation, answer, chat

USAGE = (
    b'"usage":{"prompt_tokens":100,"completion_tokens":7,"total_tokens":107,'
    b'"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}'
)


def whole(end: bytes) -> bytes:
    message = b'{"role":"assistant","content":"pong"}'
    return b'{"model":"deepseek-chat","choices":[{"index":0,"finish_reason":"%b","message":%b}],%b}' % (
        end,
        message,
        USAGE,
    )


@pytest.fixture
def provider(raw: RawTeacher, client: Transport) -> Imitation:
    return Imitation(deepseek, raw, client)


async def test_an_empty_account_is_the_operators(provider: Imitation) -> None:
    with pytest.raises(UpstreamCredentialError):
        await provider.fail(402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}})


async def test_a_client_with_its_own_key_reads_that_it_must_pay(provider: Imitation) -> None:
    assert (await provider.fail(402, {"error": {"message": "Insufficient Balance"}}, key=None)).status == 402


async def test_blank_lines_before_an_answer_pass_and_are_read(provider: Imitation, raw: RawTeacher) -> None:
    raw.script = [answer(200, b"\n\n\n" + whole(b"stop"))]

    content = await read((await provider.teacher().ask(chat())).body)

    reading = parse_answer(content, is_event_stream=False, is_complete=True)
    assert content.startswith(b"\n\n\n")
    assert reading.text == "pong"
    assert reading.usage is not None
    assert (reading.usage.prompt_tokens, reading.usage.cached_tokens) == (100, 64)


async def test_an_answer_cut_for_want_of_machines_is_no_lesson() -> None:
    reading = parse_answer(whole(b"insufficient_system_resource"), is_event_stream=False, is_complete=True)

    assert reading.text is None
