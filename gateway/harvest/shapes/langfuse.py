"""Observations of Langfuse: its export to blob storage, from the UI, or of the API, as JSON or CSV.

`input` and `output` are what the SDK saw, JSON in a string or plain; only generations are conversations.
Fields: langfuse.com/docs, "blob storage export field reference"; the API and the UI write camelCase.
"""

from __future__ import annotations

from typing import Any

from gateway.harvest.conversations import Conversation, RecordError, make_message, parse_nested


def read_record(record: dict[str, Any]) -> list[Conversation] | None:
    """See Shape."""
    if "output" not in record or not {"traceId", "trace_id", "type"} & record.keys():
        return None
    if str(record.get("type", "GENERATION")).upper() != "GENERATION":
        return []
    if record.get("level") == "ERROR":
        raise RecordError(f"the call failed: {record.get('statusMessage') or record.get('status_message')}")
    fields = _read_input(parse_nested(record.get("input")))
    model = record.get("model") or record.get("providedModelName") or record.get("provided_model_name")
    return [Conversation(fields={"model": model, **fields} if model else fields, answer=_read_output(record))]


def _read_input(given: Any) -> dict[str, Any]:
    if isinstance(given, str) and given:
        return {"messages": [{"role": "user", "content": given}]}
    if isinstance(given, dict) and isinstance(given.get("messages"), list):
        return given
    if isinstance(given, list) and given:
        return {"messages": given}
    raise RecordError("`input` is neither text nor messages")


def _read_output(record: dict[str, Any]) -> dict[str, Any]:
    output = parse_nested(record["output"])
    if isinstance(output, list) and len(output) == 1:
        output = output[0]
    if isinstance(output, dict) and isinstance(output.get("choices"), list) and output["choices"]:
        output = output["choices"][0].get("message")
    if isinstance(output, dict) and {"content", "tool_calls"} & output.keys():
        return {**output, "role": "assistant"}
    # A structured answer is kept parsed; the app got its text.
    text = record["output"]
    if isinstance(text, str) and text:
        return make_message(text)
    raise RecordError("`output` is neither text nor a message")
