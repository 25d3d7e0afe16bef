"""A local answer has OpenAI's exact shape: the official client's own models accept it strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core import Draft, Reading, Token, Usage
from gateway.wire.chat.answer import ChatRenderer
from gateway.wire.chat.reading import parse_answer
from gateway.wire.sse import ends_complete, iter_events
from tests.wire.chat.requests import chat_request

USAGE = Usage(prompt_tokens=7, completion_tokens=2, cached_tokens=3)
TEXT = 'a "label"\n\u2028é and  more, much more'
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
CALLS = (
    '<tool_call>\n{"name":"find","arguments":{"city":"Köln","n":2}}\n</tool_call>\n'
    '<tool_call>\n{"name":"find","arguments":{}}\n</tool_call>'
)
TOKENS = (
    Token("two", -0.1, (("two", -0.1), ("three", -2.5))),
    Token(" words", -0.2, ((" words", -0.2), (" é", -3.0))),
)


def draft(text: str = TEXT, **more: Any) -> Draft:
    return Draft(text=text, score=0.9, task="t", version=1, **more)


def renderer_for(**fields: object) -> ChatRenderer:
    return ChatRenderer(chat_request(**fields), lambda: 5.0)


def chunks_of(stream: bytes) -> list[dict[str, Any]]:
    """Return the chunks of a stream that ends with `[DONE]`; each passes the official client's model."""
    *chunks, done = iter_events(stream)
    assert done == b"[DONE]"
    read = [json.loads(chunk) for chunk in chunks]
    for chunk in read:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    return read


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def test_a_whole_answer() -> None:
    answer = json.loads(renderer_for().render_whole(draft(), USAGE))

    completion = ChatCompletion.model_validate(answer, strict=True)
    assert completion.choices[0].message.content == TEXT
    assert completion.choices[0].finish_reason == "stop"
    assert (completion.id, completion.created, completion.model) == ("chatcmpl-id", 5, "gpt-4o")
    assert answer["usage"]["total_tokens"] == 9
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 3
    assert {"role", "content", "refusal"} <= answer["choices"][0]["message"].keys()
    assert {"index", "logprobs"} <= answer["choices"][0].keys()


def test_a_stream_names_the_role_first_and_the_end_last() -> None:
    role, *texts, end = chunks = chunks_of(renderer_for(stream=True).render_stream(draft(), USAGE))

    assert role["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert len(texts) > 3
    assert text_of(chunks) == TEXT
    assert end["choices"][0]["delta"] == {}
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["stop"]
    assert all("usage" not in chunk for chunk in chunks)


def test_usage_is_a_chunk_of_its_own_if_asked_for() -> None:
    renderer = renderer_for(stream=True, stream_options={"include_usage": True})

    *before, last = chunks_of(renderer.render_stream(draft(), USAGE))

    assert all(chunk["usage"] is None for chunk in before)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 9


def test_an_answer_that_was_cut_says_so() -> None:
    cut = draft(finish_reason="length")

    assert json.loads(renderer_for().render_whole(cut, USAGE))["choices"][0]["finish_reason"] == "length"
    assert chunks_of(renderer_for().render_stream(cut, USAGE))[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("is_streamed", [True, False])
@pytest.mark.parametrize(("text", "reason"), [(TEXT, "stop"), (CALLS, "tool_calls")])
def test_our_own_answers_read_like_the_teachers(is_streamed: bool, text: str, reason: str) -> None:
    renderer = renderer_for(stream_options={"include_usage": True}, tools=TOOLS)
    answer = (renderer.render_stream if is_streamed else renderer.render_whole)(draft(text), USAGE)

    assert parse_answer(answer, is_streamed, is_complete=True) == Reading(
        text=text,
        model="gpt-4o",
        finish_reason=reason,
        usage=USAGE,
        is_complete=True,
        written_bytes=len(text.encode()),
        service_tier="default",
        id="chatcmpl-id",
    )
    assert not is_streamed or ends_complete(answer)


def test_tool_calls_are_calls_and_no_content() -> None:
    completion = ChatCompletion.model_validate(
        json.loads(renderer_for(tools=TOOLS).render_whole(draft(CALLS), USAGE)), strict=True
    )

    choice = completion.choices[0]
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
    first, second = choice.message.tool_calls or []
    assert first.type == "function" == second.type
    assert first.function.name == "find"
    assert json.loads(first.function.arguments) == {"city": "Köln", "n": 2}
    assert first.id.startswith("call_")
    assert first.id != second.id


def test_streamed_tool_calls_come_with_name_first_and_arguments_in_pieces() -> None:
    chunks = chunks_of(renderer_for(tools=TOOLS).render_stream(draft(CALLS), USAGE))

    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    first = [call for call in calls if call["index"] == 0]
    assert (first[0]["function"]["name"], first[0]["function"]["arguments"]) == ("find", "")
    assert all("id" not in call and "name" not in call["function"] for call in first[1:])
    assert json.loads("".join(call["function"]["arguments"] for call in first)) == {"city": "Köln", "n": 2}
    assert len([call for call in calls if "id" in call]) == 2


def test_what_looks_like_a_call_is_text_where_no_tools_were_given() -> None:
    answer = json.loads(renderer_for().render_whole(draft(CALLS), USAGE))
    assert answer["choices"][0]["message"]["content"] == CALLS


def test_logprobs_come_token_by_token() -> None:
    two_words = draft("two words", tokens=TOKENS)

    whole = json.loads(renderer_for().render_whole(two_words, USAGE))["choices"][0]["logprobs"]["content"]
    streamed = [
        token
        for chunk in chunks_of(renderer_for().render_stream(two_words, USAGE))
        for token in (chunk["choices"][0]["logprobs"] or {"content": ()})["content"]
    ]

    assert whole == streamed
    assert [token["token"] for token in whole] == ["two", " words"]
    assert whole[1]["bytes"] == list(b" words")
    assert [top["logprob"] for top in whole[0]["top_logprobs"]] == [-0.1, -2.5]


def test_an_answer_rendered_event_by_event_is_a_stream_like_any_other() -> None:
    renderer = renderer_for(stream=True, stream_options={"include_usage": True})
    stream = renderer.render_opening(draft("It begins")) + renderer.render_piece(" and ends")
    chunks = chunks_of(stream + renderer.render_closing("stop", USAGE))

    assert text_of(chunks) == "It begins and ends"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] == 2
