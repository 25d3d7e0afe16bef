"""The fine-tuning format of OpenAI, line by line; what it may hold is FineTuneChatRequestInput's."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.harvest.base import Row
from gateway.harvest.formats import openai, openai_dpo

MakeRow = Callable[..., Row]
FIND = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}
TOOLS = json.dumps([FIND], indent=2).encode()
CALL = '<tool_call>\n{"name":"find","arguments":{"a":1}}\n</tool_call>'


def lines(*rows: Row) -> list[bytes]:
    stream = io.BytesIO()
    openai.write(rows, stream)
    return stream.getvalue().splitlines()


def calls(*named: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"id": call_id, "type": "function", "function": {"name": "find", "arguments": arguments}}
        for call_id, arguments in named
    ]


def replies(*messages: dict[str, Any]) -> bytes:
    return json.dumps([{"role": "assistant", **message} for message in messages]).encode()


def test_the_answer_ends_the_conversation(row: MakeRow) -> None:
    (line,) = lines(row(answer='say "hi"\n'))

    assert json.loads(line) == {
        "messages": [
            {"role": "user", "content": "where is my card?"},
            {"role": "assistant", "content": 'say "hi"\n'},
        ]
    }


def test_unknown_fields_and_number_forms_stay(row: MakeRow) -> None:
    (line,) = lines(row(messages=b'[{"role":"user","content":"hi","weight":1.0e0}]'))

    assert b'{"role":"user","content":"hi","weight":1.0e0}' in line


def test_a_pretty_printed_conversation_stays_on_one_line(row: MakeRow) -> None:
    """JSONL has one object a line, however the client formatted its request."""
    (line,) = lines(row(messages=b'[\r\n {\n  "role": "user",\n  "content": "a\\nb"\n }\r\n]', tools=TOOLS))

    assert json.loads(line)["messages"][0] == {"role": "user", "content": "a\nb"}


def test_parallel_calls_keep_their_ids_and_their_arguments_as_they_were_written(row: MakeRow) -> None:
    made = calls(("call_a", '{"id": 1.0}'), ("call_b", "{}"))

    (line,) = lines(row(reply=replies({"tool_calls": made}), tools=TOOLS))

    told = json.loads(line)
    assert told["messages"][-1] == {"role": "assistant", "tool_calls": made}
    assert told["tools"] == [FIND]
    assert told.keys() == {"messages", "tools"}


def test_calls_that_are_known_as_text_alone_get_ids(row: MakeRow) -> None:
    """The form of an older stepdown, and of drafts."""
    text = "\n".join(f'<tool_call>\n{{"name":"find","arguments":{{"id":{n}}}}}\n</tool_call>' for n in (1, 2))

    (line,) = lines(row(answer=text, tools=TOOLS))

    made = json.loads(line)["messages"][-1]["tool_calls"]
    assert [call["function"] for call in made] == [
        {"name": "find", "arguments": '{"id":1}'},
        {"name": "find", "arguments": '{"id":2}'},
    ]
    assert len({call["id"] for call in made}) == 2
    assert all(len(call["id"]) <= 40 for call in made)


def test_words_beside_calls_stay(row: MakeRow) -> None:
    made = calls(("call_a", "{}"))

    (line,) = lines(row(reply=replies({"content": "Let me look.", "tool_calls": made}), answer=""))

    assert json.loads(line)["messages"][-1]["content"] == "Let me look."


def test_a_request_for_one_call_at_a_time_says_so(row: MakeRow) -> None:
    (line,) = lines(row(tools=TOOLS, may_call_in_parallel=False))

    assert json.loads(line)["parallel_tool_calls"] is False


def test_each_choice_is_a_line(row: MakeRow) -> None:
    told = [json.loads(line) for line in lines(row(reply=replies({"content": "a"}, {"content": "b"})))]

    assert [line["messages"][-1]["content"] for line in told] == ["a", "b"]
    assert told[0]["messages"][:-1] == told[1]["messages"][:-1]


def test_no_line_has_a_field_that_openai_refuses(row: MakeRow) -> None:
    """One extra field, and the whole file is refused."""
    (line,) = lines(row(response_format=b'{"type":"json_object"}', answer='{"a":1}'))

    assert json.loads(line).keys() == {"messages"}


def test_what_apps_send_back_of_an_answer_is_cleaned(row: MakeRow) -> None:
    """Clients put the whole message of an answer into the next request, nulls and notes included."""
    said: dict[str, Any] = {
        "role": "assistant",
        "content": "hi",
        "refusal": None,
        "annotations": [],
        "tool_calls": None,
    }
    messages = [{"role": "developer", "content": "Be brief."}, said, {"role": "user", "content": "and?"}]

    (line,) = lines(row(messages=json.dumps(messages).encode()))

    assert json.loads(line)["messages"][:3] == [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "and?"},
    ]


def test_a_refusal_in_the_history_is_said_in_words(row: MakeRow) -> None:
    said = {"role": "assistant", "content": None, "refusal": "No."}

    (line,) = lines(row(messages=json.dumps([said, {"role": "user", "content": "please"}]).encode()))

    assert json.loads(line)["messages"][0] == {"role": "assistant", "content": "No."}


def test_arguments_that_an_app_sent_back_as_an_object_are_text_again(row: MakeRow) -> None:
    """Lenient servers take them so; the API has JSON in a string."""
    call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": {"a": 1}}}
    messages = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "b"},
    ]

    (line,) = lines(row(messages=json.dumps(messages).encode()))

    (told,) = json.loads(line)["messages"][0]["tool_calls"]
    assert told["function"]["arguments"] == '{"a":1}'


def test_images_stay(row: MakeRow) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]

    (line,) = lines(row(messages=json.dumps([{"role": "user", "content": parts}]).encode()))

    assert json.loads(line)["messages"][0]["content"] == parts


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]},
        {"role": "assistant", "function_call": {"name": "find", "arguments": "{}"}},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "x"}}]},
        {"role": "assistant", "tool_calls": [{"id": "c"}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": None}]},
        {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f"}}]},
        {"role": "assistant", "tool_calls": [7]},
        {"role": "tool", "content": "of which call?"},
        {"role": "user"},
        {"role": "user", "content": []},
        {"role": "user", "content": [{"type": "text", "text": None}]},
    ],
    ids=[
        "recording",
        "file",
        "legacy call",
        "custom call",
        "call of nothing",
        "call of null",
        "call without id",
        "no call",
        "result without id",
        "says nothing",
        "no parts",
        "part without text",
    ],
)
def test_a_conversation_that_fine_tuning_does_not_take_is_left_out(
    row: MakeRow, message: dict[str, Any]
) -> None:
    assert lines(row(messages=json.dumps([message]).encode())) == []


def test_only_functions_are_defined(row: MakeRow) -> None:
    """A search is the teacher's own tool: no fine-tuned model has it."""
    (line,) = lines(row(tools=json.dumps([FIND, {"type": "web_search"}]).encode()))

    assert json.loads(line)["tools"] == [FIND]


def test_text_that_only_looks_like_a_call_stays_text(row: MakeRow) -> None:
    """Without tools the markup is what the app asked for."""
    text = '<tool_call>\n{"name":"find","arguments":{}}\n</tool_call>'

    (line,) = lines(row(answer=text, policy="default"))

    assert json.loads(line)["messages"][-1] == {"role": "assistant", "content": text}


def preferences(*rows: Row) -> list[dict[str, Any]]:
    stream = io.BytesIO()
    openai_dpo.write(rows, stream, with_held_out=True)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_teacher_is_preferred_to_a_draft_that_differs(row: MakeRow) -> None:
    assert preferences(row(draft="card_lost", tools=TOOLS)) == [
        {
            "input": {"messages": [{"role": "user", "content": "where is my card?"}], "tools": [FIND]},
            "preferred_output": [{"role": "assistant", "content": "card_arrival"}],
            "non_preferred_output": [{"role": "assistant", "content": "card_lost"}],
        }
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"draft": " card_arrival\n"},
        {"draft": '{"a":1,"b":2}', "answer": '{"b": 2, "a": 1}'},
        {"draft": CALL, "answer": CALL.replace('"a":1', '"a": 1'), "tools": TOOLS},
        {"draft": "card_lost", "is_held_out": True},
    ],
    ids=["no draft", "the same", "the same JSON", "the same call", "evidence"],
)
def test_without_a_draft_that_differs_or_of_evidence_there_is_no_pair(
    row: MakeRow, changes: dict[str, Any]
) -> None:
    assert preferences(row(**changes)) == []
