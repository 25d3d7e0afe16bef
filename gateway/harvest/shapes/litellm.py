"""Rows of LiteLLM's table of spend logs, as JSON, CSV or Parquet.

The request is in `proxy_server_request` (since 1.7x; `messages` is then empty) and the answer in
`response`, both only with `store_prompts_in_spend_logs`. Columns: LiteLLM_SpendLogs in its schema.prisma.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.harvest.conversations import Conversation, RecordError, parse_nested, read_completion

_CUT = b"litellm_truncated"
"""Stands where LiteLLM has left out the middle of a string (MAX_STRING_LENGTH_PROMPT_IN_DB, 2,048)."""


def read_record(record: dict[str, Any]) -> list[Conversation] | None:
    """See Shape."""
    if not {"call_type", "spend"} <= record.keys():
        return None
    if record.get("status") == "failure":
        raise RecordError("the call failed")
    request, response = _read_request(record), parse_nested(record.get("response"))
    if not request or not response:
        raise RecordError("LiteLLM kept no prompt: it does with store_prompts_in_spend_logs")
    if _CUT in msgspec.json.encode([request, response]):
        raise RecordError("LiteLLM cut a long text: raise MAX_STRING_LENGTH_PROMPT_IN_DB")
    # The name by which the app asked; `model` is the provider's.
    named = request.get("model") or record.get("model_group") or record.get("model")
    return [read_completion({**request, "model": named}, response)]


def _read_request(record: dict[str, Any]) -> dict[str, Any]:
    request = parse_nested(record.get("proxy_server_request"))
    if isinstance(request, dict) and request:
        body = request.get("body")
        return body if isinstance(body, dict) else request
    messages = parse_nested(record.get("messages"))
    return {"messages": messages} if isinstance(messages, list) and messages else {}
