"""Every field of the official SDK's requests that ends in `_id` is known: an object's, or none."""

from __future__ import annotations

import re
from pathlib import Path

import openai
import pytest

from gateway.errors import RequestError
from gateway.wire.object_ids import find_object_ids

TYPES = Path(openai.__file__).parent / "types"
# Below closed paths, or in the messages of a websocket.
ELSEWHERE = (
    *("admin", "beta/agent", "beta/chatkit", "beta/hosted", "beta/environment", "beta/persisted_agent"),
    *("beta/realtime", "fine_tuning/checkpoints", "live", "realtime"),
)
# What the client invents, what belongs to an object named beside it, and what OpenAI itself names.
NO_OBJECTS = {
    *("call_id", "caller_id", "tool_call_id", "approval_request_id", "event_id", "request_id", "field_id"),
    *("item_id", "part_ids", "run_id", "step_id", "continuation_id", "connector_id", "stream_id", "agent_id"),
    # A skill or a tunnel is made by the operator, on paths that are closed; all tenants share it.
    *("skill_id", "tunnel_id"),
}


def fields() -> set[str]:
    found: set[str] = set()
    for file in TYPES.rglob("*_param*.py"):
        if not file.relative_to(TYPES).as_posix().startswith(ELSEWHERE):
            found.update(re.findall(r"^    (\w+_ids?): ", file.read_text(encoding="utf-8"), re.MULTILINE))
    return found - NO_OBJECTS


@pytest.mark.parametrize("name", sorted(fields()))
def test_a_field_that_names_an_object_is_read(name: str) -> None:
    value = b'["obj-1"]' if name.endswith("s") else b'"obj-1"'

    assert find_object_ids(b'{"deep":[{"%b":%b}]}' % (name.encode(), value)) == ("obj-1",)


def test_what_is_nested_too_deeply_to_be_read_does_not_pass() -> None:
    body = b'{"file_id":"f","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    with pytest.raises(RequestError, match="nested too deeply"):
        find_object_ids(body)
