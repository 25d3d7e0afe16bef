"""xAI, as its documents and its users' reports describe it."""

from __future__ import annotations

import pytest

from gateway.errors import UpstreamCredentialError
from gateway.upstream.base import Transport
from gateway.upstream.providers import xai
from gateway.wire.usage import read_usage
from tests.upstream.conftest import RawTeacher
from tests.upstream.providers.imitation import Imitation, error_of

DENIED = "The caller does not have permission to execute the specified operation"


@pytest.fixture
def provider(raw: RawTeacher, client: Transport) -> Imitation:
    return Imitation(xai, raw, client)


@pytest.mark.parametrize("text", ["Incorrect API key provided: xa***ab.", "Incorrect%20API%20key%20provided"])
async def test_a_wrong_key_is_the_operators_although_it_is_a_400(provider: Imitation, text: str) -> None:
    with pytest.raises(UpstreamCredentialError):
        await provider.fail(400, {"code": "Client specified an invalid argument", "error": text})


async def test_a_wrong_key_of_the_client_is_the_clients(provider: Imitation) -> None:
    reply = await provider.fail(400, {"code": "x", "error": "Incorrect API key provided"}, key=None)

    assert (reply.status, (await error_of(reply))["message"]) == (400, "Incorrect API key provided")


async def test_a_failed_safety_check_is_a_refusal_that_does_not_name_the_account(provider: Imitation) -> None:
    text = (
        "Content violates usage guidelines. Team: 1234-ab, API key ID: 99-cd, Model: grok-4, "
        "Failed check: SAFETY_CHECK_TYPE_BIO"
    )

    reply = await provider.fail(403, {"code": DENIED, "error": text})

    error = await error_of(reply)
    assert (reply.status, error["code"]) == (400, "content_filter")
    assert error["message"] == (
        "Content violates usage guidelines. Model: grok-4, Failed check: SAFETY_CHECK_TYPE_BIO"
    )


async def test_any_other_error_is_readable_by_openais_clients(provider: Imitation) -> None:
    reply = await provider.fail(
        404, {"code": "Some requested entity was not found", "error": "no such model"}
    )

    error = await error_of(reply)
    assert (reply.status, error["message"], error["type"]) == (404, "no such model", "invalid_request_error")


def test_reasoning_is_counted_beside_the_completion() -> None:
    usage = read_usage(
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "completion_tokens_details": {"reasoning_tokens": 94},
        }
    )

    assert usage is not None
    assert usage.completion_tokens == 103
