"""Anthropic's endpoint for OpenAI's clients, and its own list of models."""

from __future__ import annotations

import pytest

from gateway.errors import UpstreamCredentialError
from gateway.upstream.base import Transport
from gateway.upstream.providers import anthropic
from tests.upstream.conftest import RawTeacher
from tests.upstream.providers.imitation import KEY, Imitation, answer, chat, error_of, get

OVERLOADED = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Overloaded"},
    "request_id": "r",
}


@pytest.fixture
def provider(raw: RawTeacher, client: Transport) -> Imitation:
    return Imitation(anthropic, raw, client)


async def test_a_chat_carries_the_key_as_openais_clients_do(provider: Imitation) -> None:
    await provider.teacher().ask(chat())

    assert (provider.target, provider.headers["authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert "x-api-key" not in provider.headers


async def test_the_list_of_models_is_its_own_api_and_comes_on_one_page(provider: Imitation) -> None:
    await provider.teacher(workspace="w1").ask(get(b"/v1/models"))

    headers = provider.headers
    assert provider.target == "/v1/models?limit=1000"
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert headers["anthropic-workspace-id"] == "w1"
    assert "authorization" not in headers


async def test_a_page_that_a_client_names_is_that_page(provider: Imitation) -> None:
    await provider.teacher().ask(get(b"/v1/models?limit=5&after_id=x"))

    assert provider.target == "/v1/models?limit=5&after_id=x"


async def test_clients_keep_their_own_key(provider: Imitation) -> None:
    await provider.teacher(key=None).ask(get(b"/v1/models"))

    assert not {"x-api-key", "authorization"} & set(provider.headers)


async def test_an_overloaded_api_is_a_failure_that_openais_clients_read(provider: Imitation) -> None:
    reply = await provider.fail(529, OVERLOADED)

    assert (reply.status, (await error_of(reply))["message"]) == (529, "Overloaded")


async def test_a_refused_key_is_the_operators(provider: Imitation) -> None:
    with pytest.raises(UpstreamCredentialError):
        await provider.fail(401, {"type": "error", "error": {"type": "authentication_error", "message": "x"}})


async def test_its_name_of_a_request_is_told_and_its_account_is_not(
    provider: Imitation, raw: RawTeacher
) -> None:
    raw.script = [
        answer(
            200,
            {},
            (b"request-id", b"req_1"),
            (b"anthropic-organization-id", b"o"),
            (b"anthropic-ratelimit-requests-remaining", b"9"),
        )
    ]

    reply = await provider.teacher().ask(chat())

    assert (b"x-request-id", b"req_1") in reply.headers
    assert not [name for name, _ in reply.headers if name.startswith(b"anthropic")]
