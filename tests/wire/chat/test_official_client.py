"""The official client reads a local stream of any kind as one of OpenAI's."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from openai import OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ParsedChatCompletion

from gateway.core import Draft, Token, Usage
from gateway.wire.chat.answer import ChatRenderer
from tests.wire.chat.requests import chat_request
from tests.wire.conftest import event_stream

USAGE = Usage(prompt_tokens=7, completion_tokens=2)
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "find",
            "strict": True,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
FIND = '<tool_call>\n{"name":"find","arguments":{"city":"Köln"}}\n</tool_call>'
TOKENS = (Token("two", -0.1, (("two", -0.1), ("three", -2.5))), Token(" words", -0.2))
WITH_USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


def renderer_for(**fields: object) -> ChatRenderer:
    return ChatRenderer(chat_request(**fields), lambda: 5.0)


def draft(text: str, **more: Any) -> Draft:
    return Draft(text=text, score=0.9, task="t", version=1, **more)


def final(client: OpenAI, **fields: Any) -> ParsedChatCompletion[None]:
    """Return the completion that the client's own helper builds from the stream, event by event."""
    state = ChatCompletionStreamState(input_tools=fields.get("tools", []))
    for chunk in client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hello"}], **(WITH_USAGE | fields)
    ):
        state.handle_chunk(chunk)
    return state.get_final_completion()


def test_a_text(client: OpenAI, answers: list[httpx2.Response]) -> None:
    answers.append(event_stream(renderer_for(**WITH_USAGE).render_stream(draft("two words"), USAGE)))

    completion = final(client)

    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "two words")
    assert (choice.finish_reason, choice.message.refusal, choice.message.tool_calls) == ("stop", None, None)
    assert completion.usage is not None
    assert completion.usage.total_tokens == 9


def test_an_answer_that_is_sent_while_it_is_written(client: OpenAI, answers: list[httpx2.Response]) -> None:
    renderer = renderer_for(**WITH_USAGE)
    opening = renderer.render_opening(draft("two"))
    pieces = renderer.render_piece(" wo") + renderer.render_piece("rds")
    answers.append(event_stream(opening + pieces + renderer.render_closing("stop", USAGE)))

    (choice,) = final(client).choices

    assert (choice.message.content, choice.finish_reason) == ("two words", "stop")


def test_logprobs(client: OpenAI, answers: list[httpx2.Response]) -> None:
    renderer = renderer_for(logprobs=True, top_logprobs=2, **WITH_USAGE)
    answers.append(event_stream(renderer.render_stream(draft("two words", tokens=TOKENS), USAGE)))

    (choice,) = final(client, logprobs=True, top_logprobs=2).choices

    assert choice.logprobs is not None
    logprobs = choice.logprobs.content or []
    assert [(token.token, token.logprob) for token in logprobs] == [("two", -0.1), (" words", -0.2)]
    assert [token.token for token in logprobs[0].top_logprobs] == ["two", "three"]
    assert bytes(logprobs[1].bytes or []) == b" words"


def test_tool_calls(client: OpenAI, answers: list[httpx2.Response]) -> None:
    renderer = renderer_for(tools=TOOLS, **WITH_USAGE)
    answers.append(event_stream(renderer.render_stream(draft(f"{FIND}\n{FIND}"), USAGE)))

    (choice,) = final(client, tools=TOOLS).choices

    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    first, second = choice.message.tool_calls or []
    assert first.function.parsed_arguments == second.function.parsed_arguments == {"city": "Köln"}
    assert first.id != second.id


@pytest.mark.parametrize(
    ("tool_choice", "reason"),
    [
        ("required", "tool_calls"),
        ({"type": "function", "function": {"name": "find"}}, "stop"),
    ],
)
def test_a_call_that_was_asked_for_by_name_ends_like_openais(
    client: OpenAI, answers: list[httpx2.Response], tool_choice: Any, reason: str
) -> None:
    renderer = renderer_for(tools=TOOLS, tool_choice=tool_choice)
    answers.append(event_stream(renderer.render_stream(draft(FIND), USAGE)))
    answers.append(httpx2.Response(200, content=renderer.render_whole(draft(FIND), USAGE)))

    (choice,) = final(client, tools=TOOLS, tool_choice=tool_choice).choices
    whole = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])

    assert choice.finish_reason == whole.choices[0].finish_reason == reason
    assert choice.message.tool_calls
    assert whole.choices[0].message.tool_calls
