"""Azure OpenAI, as Microsoft's REST reference describes it."""

from __future__ import annotations

import json

import pytest

from gateway.errors import UpstreamCredentialError
from gateway.upstream.base import Call, Transport
from gateway.upstream.providers import azure
from tests.upstream.conftest import RawTeacher, read
from tests.upstream.providers.imitation import KEY, Imitation, answer, chat, error_of, get

DATED = "2024-10-21"
FILTERED = {
    "error": {
        "message": "The response was filtered",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}


@pytest.fixture
def provider(raw: RawTeacher, client: Transport) -> Imitation:
    return Imitation(azure, raw, client)


@pytest.mark.parametrize("path", ["", "/", "/openai", "/openai/v1", "/openai/v1/"])
async def test_the_v1_api_needs_no_version(provider: Imitation, path: str) -> None:
    await provider.teacher(path).ask(chat())

    assert provider.target == "/openai/v1/chat/completions"
    assert provider.headers["api-key"] == KEY
    assert "authorization" not in provider.headers


@pytest.mark.parametrize(
    ("call", "target"),
    [
        (chat(), f"/openai/deployments/gpt-4o/chat/completions?api-version={DATED}"),
        (
            chat(b'{"model":"a/b c"}', b"/v1/embeddings?x=1"),
            f"/openai/deployments/a%2Fb%20c/embeddings?x=1&api-version={DATED}",
        ),
        (get(b"/v1/models"), f"/openai/models?api-version={DATED}"),
        (chat(b"no json"), f"/openai/chat/completions?api-version={DATED}"),
    ],
    ids=["chat", "embeddings", "models", "no model"],
)
async def test_a_dated_version_has_a_path_for_each_deployment(
    provider: Imitation, call: Call, target: str
) -> None:
    await provider.teacher("", api_version=DATED).ask(call)

    assert provider.target == target


async def test_a_filtered_prompt_is_a_refusal_in_azures_own_words(provider: Imitation) -> None:
    reply = await provider.fail(400, FILTERED)

    assert (reply.status, json.loads(await read(reply.body))) == (400, FILTERED)


async def test_api_management_speaks_in_openais_words(provider: Imitation) -> None:
    reply = await provider.fail(429, {"statusCode": 429, "message": "Rate limit is exceeded"})

    error = await error_of(reply)
    assert (reply.status, error["message"], error["type"]) == (
        429,
        "Rate limit is exceeded",
        "rate_limit_error",
    )


async def test_a_refused_key_is_the_operators(provider: Imitation) -> None:
    with pytest.raises(UpstreamCredentialError):
        await provider.fail(401, {"error": {"code": "401", "message": "Access denied due to invalid key"}})


async def test_a_request_has_openais_name_and_the_account_stays_here(
    provider: Imitation, raw: RawTeacher
) -> None:
    raw.script = [
        answer(
            200,
            {},
            (b"apim-request-id", b"r1"),
            (b"x-ms-region", b"East US"),
            (b"azureml-model-session", b"d1"),
            (b"x-ratelimit-remaining-tokens", b"9"),
        )
    ]

    reply = await provider.teacher().ask(chat())

    assert [header for header in reply.headers if header[0] not in (b"content-type", b"content-length")] == [
        (b"x-request-id", b"r1")
    ]
