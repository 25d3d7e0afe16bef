"""Records in the shapes that other tools publish: what was asked and answered, or why it cannot be read."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.harvest.sources import Columns, Record, read_records

SYSTEM = {"role": "system", "content": "Sort the ticket."}
USER = {"role": "user", "content": "my card is gone"}
REQUEST = {"model": "gpt-4o", "messages": [SYSTEM, USER]}
ANSWER = {"role": "assistant", "content": "lost_card"}
RESPONSE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": ANSWER, "finish_reason": "stop"}],
}
CALL = {"id": "c1", "type": "function", "function": {"name": "block", "arguments": '{"card":1}'}}
TOOL = {"type": "function", "function": {"name": "block", "parameters": {"type": "object"}}}


def litellm(**changes: Any) -> dict[str, Any]:
    """Return a row of LiteLLM_SpendLogs as version 1.82 writes it."""
    return {
        "request_id": "chatcmpl-1", "call_type": "acompletion", "api_key": "88dc", "spend": 0.00012,
        "total_tokens": 20, "prompt_tokens": 17, "completion_tokens": 3, "model": "gpt-4o-2024-08-06",
        "model_group": "gpt-4o", "custom_llm_provider": "openai", "metadata": {}, "messages": {},
        "startTime": "2026-11-01T10:00:00Z", "endTime": "2026-11-01T10:00:01Z", "status": "success",
        "proxy_server_request": REQUEST, "response": RESPONSE,
    } | changes  # fmt: skip


def langfuse(**changes: Any) -> dict[str, Any]:
    """Return a row of the enriched observations of Langfuse's blob storage export."""
    return {
        "id": "obs-1", "trace_id": "t-1", "project_id": "p", "environment": "default", "type": "GENERATION",
        "parent_observation_id": None, "start_time": "2026-11-01 10:00:00.000000",
        "name": "OpenAI-generation", "level": "DEFAULT", "status_message": None,
        "provided_model_name": "gpt-4o", "model_parameters": {}, "input": json.dumps(REQUEST["messages"]),
        "output": json.dumps(ANSWER), "usage_details": {},
    } | changes  # fmt: skip


def otel(**changes: Any) -> dict[str, Any]:
    """Return the attributes of a span of semantic conventions 1.37, as its example has them."""
    parts = {"system": "Sort the ticket.", "user": "my card is gone"}
    return {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
        "gen_ai.input.messages": [
            {"role": role, "parts": [{"type": "text", "content": text}]} for role, text in parts.items()
        ],
        "gen_ai.output.messages": [
            {
                "role": "assistant",
                "parts": [{"type": "text", "content": "lost_card"}],
                "finish_reason": "stop",
            }
        ],
    } | changes  # fmt: skip


def otlp(*spans: dict[str, Any], as_text: bool = True) -> dict[str, Any]:
    """Return spans in OTLP's JSON: attributes as JSON text, or as structured values."""

    def any_value(value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            return {"stringValue": value}
        if as_text:
            return {"stringValue": json.dumps(value)}
        if isinstance(value, list):
            return {"arrayValue": {"values": [any_value(one) for one in value]}}
        return {"kvlistValue": {"values": [{"key": k, "value": any_value(v)} for k, v in value.items()]}}

    listed = [
        {
            "name": "chat gpt-4o",
            "attributes": [{"key": key, "value": any_value(value)} for key, value in span.items()],
        }
        for span in spans
    ]
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": listed}]}]}


def read(tmp_path: Path, *records: Any) -> list[Record]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return list(read_records(path, Columns()))


@pytest.mark.parametrize(
    "record",
    [
        litellm(),
        litellm(proxy_server_request={"body": REQUEST}),
        litellm(proxy_server_request=json.dumps(REQUEST), response=json.dumps(RESPONSE)),
        litellm(proxy_server_request={}, messages=REQUEST["messages"]),
        langfuse(),
        langfuse(input=REQUEST["messages"], output=ANSWER),
        langfuse(input={"messages": REQUEST["messages"]}, output="lost_card"),
        {"traceId": "t", "type": "GENERATION", "model": "gpt-4o", "input": REQUEST, "output": RESPONSE},
        otlp(otel()),
        otlp(otel(), as_text=False),
        otlp(
            otel(
                **{
                    "gen_ai.system_instructions": [{"type": "text", "content": "Sort the ticket."}],
                    "gen_ai.input.messages": otel()["gen_ai.input.messages"][1:],
                }
            )
        ),
        {"name": "chat gpt-4o", "attributes": otel()},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"attributes": otel()}]}]}]},
        {"request": REQUEST, "response": RESPONSE},
        {**RESPONSE, **REQUEST},
        {"messages": [SYSTEM, USER, ANSWER], "model": "gpt-4o"},
        {**REQUEST, "answer": "lost_card"},
    ],
)  # fmt: skip
def test_each_shape_gives_the_same_conversation(tmp_path: Path, record: dict[str, Any]) -> None:
    (found,) = read(tmp_path, record)

    assert found.conversation is not None, found.error
    assert found.conversation.fields["messages"] == [SYSTEM, USER]
    assert found.conversation.fields["model"] == "gpt-4o"
    assert found.conversation.answer["content"] == "lost_card"


def test_calls_of_functions_are_read_from_each_shape(tmp_path: Path) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    completion = {"choices": [{"message": called, "finish_reason": "tool_calls"}]}
    parts = [{"type": "tool_call", "id": "c1", "name": "block", "arguments": {"card": 1}}]
    definition = {"type": "function", "name": "block", "parameters": {"type": "object"}}
    output = [{"role": "assistant", "parts": parts, "finish_reason": "tool_call"}]
    result = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c0", "response": "done"}]}
    asked = [{"role": "user", "parts": [{"type": "text", "content": "block it"}]}, result]
    found = read(
        tmp_path,
        litellm(proxy_server_request={**REQUEST, "tools": [TOOL]}, response=completion),
        langfuse(input={"messages": [USER], "tools": [TOOL]}, output=called),
        otlp(
            otel(**{
                "gen_ai.output.messages": output, "gen_ai.tool.definitions": [definition],
                "gen_ai.input.messages": asked,
            })
        ),
    )  # fmt: skip

    conversations = [one.conversation for one in found]
    assert all(one is not None for one in conversations), found
    assert [one.fields["tools"] for one in conversations if one] == [[TOOL]] * 3
    assert [one.answer["tool_calls"] for one in conversations if one] == [[CALL]] * 3
    assert conversations[2] is not None
    assert conversations[2].fields["messages"][1] == {
        "role": "tool", "tool_call_id": "c0", "content": "done"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (litellm(proxy_server_request={}), "store_prompts_in_spend_logs"),
        (litellm(response={}), "store_prompts_in_spend_logs"),
        (litellm(status="failure"), "failed"),
        (
            litellm(proxy_server_request={"messages": [{"content": "a... (litellm_truncated 9 chars)"}]}),
            "MAX_STRING_LENGTH_PROMPT_IN_DB",
        ),
        (langfuse(level="ERROR", status_message="429"), "429"),
        (langfuse(input=""), "`input`"),
        (langfuse(output=""), "`output`"),
        (otlp(otel(**{"gen_ai.input.messages": []})), "not captured"),
        (otlp(otel(**{"gen_ai.output.messages": [{"parts": [], "finish_reason": "length"}]})), "length"),
        (
            otlp(otel(**{"gen_ai.input.messages": [{"role": "user", "parts": [{"type": "blob"}]}]})),
            "'blob'",
        ),
        ({"messages": "no list"}, "messages"),
        ({"something": 1}, "any other known shape"),
        ([1], "not an object"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(tmp_path: Path, record: Any, why: str) -> None:
    (found,) = read(tmp_path, record)

    assert found.conversation is None
    assert why in found.error


def test_spans_that_are_no_calls_of_a_model_are_passed_over(tmp_path: Path) -> None:
    """A trace has many; so have Langfuse's observations."""
    http = {"http.request.method": "POST"}

    found = read(tmp_path, otlp(http, otel(), http, otel()), langfuse(type="SPAN"), langfuse(type="EVENT"))

    assert [one.number for one in found] == [1, 1]


def test_a_json_array_is_read_like_lines(tmp_path: Path) -> None:
    """Langfuse's UI exports one."""
    path = tmp_path / "export.json"
    path.write_text(json.dumps([langfuse(), langfuse(output="")]))

    found = list(read_records(path, Columns()))

    assert [(one.number, bool(one.conversation)) for one in found] == [(1, True), (2, False)]
    path.write_text("[{]")
    with pytest.raises(ConfigError, match=r"export\.json"):
        list(read_records(path, Columns()))


@pytest.mark.parametrize("make", [litellm, langfuse])
def test_a_table_of_a_known_shape_needs_no_columns(tmp_path: Path, make: Any) -> None:
    """As CSV, with JSON in its cells."""
    row = {key: value if isinstance(value, str) else json.dumps(value) for key, value in make().items()}
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)

    (found,) = read_records(path, Columns())

    assert found.conversation is not None, found.error
    assert found.conversation.fields["messages"] == [SYSTEM, USER]


def test_parquet_is_read_by_its_columns_or_its_shape(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    named, logs, other = (tmp_path / f"{name}.parquet" for name in ("named", "logs", "other"))
    duckdb.sql("SELECT * FROM (VALUES ('a', 'x'), ('b', NULL)) t(question, label)").write_parquet(str(named))
    request, response = json.dumps(REQUEST), json.dumps(RESPONSE)
    duckdb.sql(
        f"SELECT 'acompletion' AS call_type, 0.1 AS spend, '{request}' AS proxy_server_request, "
        f"'{response}'::JSON AS response, 'success' AS status"
    ).write_parquet(str(logs))
    duckdb.sql("SELECT 1 AS n").write_parquet(str(other))

    first, second = read_records(named, Columns(text="question", answer="label"))
    assert first.conversation is not None
    assert (first.conversation.fields["messages"][0]["content"], second.error) == (
        "a",
        "text or answer is empty",
    )
    (row,) = read_records(logs, Columns())
    assert row.conversation is not None, row.error
    assert row.conversation.answer == ANSWER
    with pytest.raises(ConfigError, match="no column 'answer'; known: n"):
        list(read_records(other, Columns()))
    other.write_bytes(b"no parquet")
    with pytest.raises(ConfigError, match=r"other\.parquet"):
        list(read_records(other, Columns()))


OUTPUT = [
    {"id": "rs_1", "type": "reasoning", "summary": []},
    {
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "lost_card", "annotations": []}],
    },
]  # fmt: skip


def stored(**changes: Any) -> dict[str, Any]:
    """Return a response as GET /v1/responses/{id} gives it, which does not hold what was asked."""
    return {
        "id": "resp_1", "object": "response", "created_at": 1_760_000_000, "status": "completed",
        "background": False, "error": None, "incomplete_details": None, "instructions": "Sort the ticket.",
        "max_output_tokens": None, "model": "gpt-4o-2024-08-06", "output": OUTPUT,
        "parallel_tool_calls": True, "previous_response_id": None, "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None}, "safety_identifier": None, "service_tier": "default",
        "store": True, "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto",
        "tools": [], "top_p": 1.0, "truncation": "disabled", "usage": {}, "user": None, "metadata": {},
    } | changes  # fmt: skip


ASKED = {"model": "gpt-4o", "instructions": "Sort the ticket.", "input": "my card is gone"}


@pytest.mark.parametrize(
    ("record", "model"),
    [
        ({"request": ASKED, "response": stored()}, "gpt-4o"),
        ({"request": json.dumps(ASKED), "response": json.dumps(stored())}, "gpt-4o"),
        ({**ASKED, "output": OUTPUT}, "gpt-4o"),
        # The model that answered is not what the app asked for.
        (stored(input="my card is gone"), None),
    ],
)
def test_responses_are_read_as_conversations_of_their_api(
    tmp_path: Path, record: dict[str, Any], model: str | None
) -> None:
    (found,) = read(tmp_path, record)

    assert found.conversation is not None, found.error
    assert found.conversation.surface == "responses"
    assert found.conversation.answer == {"status": "completed", "output": OUTPUT}
    fields = found.conversation.fields
    assert (fields["instructions"], fields["input"], fields.get("model")) == (
        "Sort the ticket.", "my card is gone", model,
    )  # fmt: skip
    assert not {"tools", "tool_choice", "store"} & fields.keys(), "the app said nothing of these"


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (stored(), "a stored response does not hold what was asked"),
        (
            stored(input="x", status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            "the answer ended with max_output_tokens",
        ),
        ({"request": {"model": "gpt-4o"}, "response": stored()}, "are not those of the Responses API"),
        ({"input": "x", "output": "a text"}, "nor any other known shape"),
    ],
)
def test_responses_that_cannot_be_learnt_are_named(
    tmp_path: Path, record: dict[str, Any], error: str
) -> None:
    (found,) = read(tmp_path, record)

    assert error in found.error
