"""vLLM, llama.cpp and Ollama: servers of one's own, whose errors are not always OpenAI's."""

from __future__ import annotations

import gzip
import json
from types import ModuleType

import pytest

from gateway.upstream.base import Transport
from gateway.upstream.providers import llamacpp, ollama, vllm
from tests.upstream.conftest import RawTeacher, read
from tests.upstream.providers.imitation import Imitation, chat, error_of

OPENAIS = {"error": {"message": "not found", "type": "NotFoundError", "param": None, "code": 404}}


@pytest.mark.parametrize("provider", [vllm, llamacpp, ollama])
async def test_no_key_is_sent_to_a_server_that_wants_none(
    raw: RawTeacher, client: Transport, provider: ModuleType
) -> None:
    imitation = Imitation(provider, raw, client)

    await imitation.teacher(key="").ask(chat())

    assert "authorization" not in imitation.headers


@pytest.mark.parametrize("provider", [vllm, llamacpp, ollama])
async def test_an_error_in_openais_words_passes_byte_for_byte(
    raw: RawTeacher, client: Transport, provider: ModuleType
) -> None:
    reply = await Imitation(provider, raw, client).fail(404, OPENAIS)

    assert await read(reply.body) == json.dumps(OPENAIS).encode()


@pytest.mark.parametrize(
    ("provider", "content"),
    [
        (vllm, {"object": "error", "message": "busy", "type": "BadRequestError"}),
        (vllm, {"detail": "busy"}),
        (ollama, {"error": "busy"}),
    ],
)
async def test_an_error_in_other_words_is_readable_by_openais_clients(
    raw: RawTeacher, client: Transport, provider: ModuleType, content: object
) -> None:
    reply = await Imitation(provider, raw, client).fail(503, content)

    assert (reply.status, (await error_of(reply))["message"]) == (503, "busy")


async def test_an_encoded_error_is_read_and_told_plain(raw: RawTeacher, client: Transport) -> None:
    packed = gzip.compress(b'{"error":"server busy"}')

    reply = await Imitation(ollama, raw, client).fail(503, packed, (b"content-encoding", b"gzip"))

    assert b"content-encoding" not in dict(reply.headers)
    assert (await error_of(reply))["message"] == "server busy"


async def test_a_prompt_too_long_for_llama_cpp_is_named_as_openai_names_it(
    raw: RawTeacher, client: Transport
) -> None:
    error = {
        "code": 400,
        "message": "exceeds the available context size",
        "type": "exceed_context_size_error",
    }

    reply = await Imitation(llamacpp, raw, client).fail(400, {"error": error})

    assert (await error_of(reply))["code"] == "context_length_exceeded"


async def test_a_model_that_llama_cpp_still_loads_is_a_failure(raw: RawTeacher, client: Transport) -> None:
    error = {"code": 503, "message": "Loading model", "type": "unavailable_error"}

    assert (await Imitation(llamacpp, raw, client).fail(503, {"error": error})).status == 503


def test_ollamas_latest_model_is_asked_for_by_its_name(raw: RawTeacher, client: Transport) -> None:
    assert Imitation(ollama, raw, client).teacher().dialect.model_name("llama3:latest") == "llama3"
