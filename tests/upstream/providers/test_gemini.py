"""Gemini's endpoint for OpenAI's clients: Google's errors, in a list."""

from __future__ import annotations

import pytest

from gateway.errors import UpstreamCredentialError
from gateway.upstream.base import Transport
from gateway.upstream.providers import gemini
from gateway.wire.usage import read_usage
from tests.upstream.conftest import RawTeacher, read
from tests.upstream.providers.imitation import Imitation, chat, error_of

WRONG_KEY = {
    "code": 400,
    "message": "API key not valid. Please pass a valid API key.",
    "status": "INVALID_ARGUMENT",
    "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
}
EXHAUSTED = {
    "code": 429,
    "message": "You exceeded your current quota.",
    "status": "RESOURCE_EXHAUSTED",
    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}],
}


@pytest.fixture
def provider(raw: RawTeacher, client: Transport) -> Imitation:
    return Imitation(gemini, raw, client)


async def test_it_is_below_its_own_path(provider: Imitation) -> None:
    await provider.teacher("/v1beta/openai").ask(chat())

    assert provider.target == "/v1beta/openai/chat/completions"


async def test_a_wrong_key_is_the_operators_although_it_is_a_400(provider: Imitation) -> None:
    with pytest.raises(UpstreamCredentialError):
        await provider.fail(400, [{"error": WRONG_KEY}])


@pytest.mark.parametrize("shape", [[{"error": EXHAUSTED}], {"error": EXHAUSTED}], ids=["list", "alone"])
async def test_a_limit_is_readable_and_says_when_to_come_back(provider: Imitation, shape: object) -> None:
    reply = await provider.fail(429, shape)

    error = await error_of(reply)
    assert (error["type"], error["code"]) == ("rate_limit_error", "resource_exhausted")
    assert dict(reply.headers)[b"retry-after-ms"] == b"34070"


async def test_what_is_unlike_any_error_passes(provider: Imitation) -> None:
    reply = await provider.fail(500, [1, {"error": "x"}])

    assert await read(reply.body) == b'[1, {"error": "x"}]'


def test_thoughts_are_counted_beside_the_completion() -> None:
    usage = read_usage({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 65})

    assert usage is not None
    assert usage.completion_tokens == 55


def test_a_listed_model_is_asked_for_without_its_collection(provider: Imitation) -> None:
    assert provider.teacher().dialect.model_name("models/gemini-3-pro") == "gemini-3-pro"
