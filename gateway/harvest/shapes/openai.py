"""OpenAI's own shapes, and the plain one: {"messages", "answer"}.

The form for fine-tuning is `messages` that end with the assistant's, and `tools`; a stored completion has
`request` and `response`, or the messages beside its `choices`.
"""

from __future__ import annotations

from typing import Any

from gateway.harvest.conversations import (
    Conversation,
    RecordError,
    make_message,
    parse_nested,
    read_completion,
)


def read_record(record: dict[str, Any]) -> list[Conversation] | None:
    """See Shape."""
    if "request" in record and "response" in record:
        return [read_completion(parse_nested(record["request"]), parse_nested(record["response"]))]
    if "messages" not in record:
        return None
    if "choices" in record:
        return [read_completion(record, record)]
    messages = parse_nested(record["messages"])
    if not isinstance(messages, list) or not messages:
        raise RecordError("no `messages`")
    fields = {name: parse_nested(value) for name, value in record.items() if name != "answer" and value != ""}
    if "answer" in record:
        answer = record["answer"]
        if not isinstance(answer, str) or not answer:
            raise RecordError("`answer` is not text")
        return [Conversation(fields={**fields, "messages": messages}, answer=make_message(answer))]
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "assistant":
        raise RecordError("the last message is not the assistant's, and there is no `answer`")
    if last.get("weight") == 0:
        raise RecordError("the answer has the weight 0: it is not to be learnt")
    return [Conversation(fields={**fields, "messages": messages[:-1]}, answer=last)]
