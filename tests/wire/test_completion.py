"""A local answer has OpenAI's exact shape: the official client's own models accept it strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core import Reading, Usage
from gateway.wire.completion import render, render_stream
from gateway.wire.reading import read_answer
from gateway.wire.sse import ends_complete, iter_events
from tests.wire.ask import ask

USAGE = Usage(prompt_tokens=7, completion_tokens=2, cached_tokens=3)
TEXT = 'a "label"\n\u2028é'


def events(**fields: object) -> list[dict[str, Any]]:
    *chunks, done = iter_events(render_stream(ask(stream=True, **fields), TEXT, USAGE, "chatcmpl-1", 5))
    assert done == b"[DONE]"
    return [json.loads(chunk) for chunk in chunks]


def test_a_whole_answer() -> None:
    answer = json.loads(render(ask(), TEXT, USAGE, "chatcmpl-1", 5))

    completion = ChatCompletion.model_validate(answer, strict=True)
    assert completion.choices[0].message.content == TEXT
    assert completion.choices[0].finish_reason == "stop"
    assert (completion.id, completion.created, completion.model) == ("chatcmpl-1", 5, "gpt-4o")
    assert answer["usage"]["total_tokens"] == 9
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 3
    assert {"role", "content", "refusal"} <= answer["choices"][0]["message"].keys()
    assert {"index", "logprobs"} <= answer["choices"][0].keys()


def test_a_stream_names_the_role_first_and_the_end_last() -> None:
    role, text, end = events()

    assert role["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert text["choices"][0]["delta"] == {"content": TEXT}
    assert end["choices"][0]["delta"] == {}
    assert [chunk["choices"][0]["finish_reason"] for chunk in (role, text, end)] == [None, None, "stop"]
    for chunk in (role, text, end):
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert "usage" not in chunk


def test_usage_is_a_chunk_of_its_own_if_asked_for() -> None:
    *before, last = events(stream_options={"include_usage": True})

    assert [chunk["usage"] for chunk in before] == [None, None, None]
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 9


@pytest.mark.parametrize("is_streamed", [True, False])
def test_our_own_answers_read_like_the_teachers(is_streamed: bool) -> None:
    request = ask(stream_options={"include_usage": True})
    answer = (render_stream if is_streamed else render)(request, TEXT, USAGE, "chatcmpl-1", 5)

    assert read_answer(answer, "", is_streamed, is_complete=True) == Reading(
        text=TEXT, model="gpt-4o", finish_reason="stop", usage=USAGE, is_complete=True
    )
    assert not is_streamed or ends_complete(answer)
