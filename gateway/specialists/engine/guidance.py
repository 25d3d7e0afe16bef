"""The JSON schema which an answer must follow, in the form in which the library takes it."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core import DraftRequest
from gateway.errors import SpecialistError

# As many blanks as an indented line has, so that a student keeps its teacher's layout; without a
# limit a small model would write them for ever.
_BLANKS = {"whitespace_pattern": "\\n? {0,16}"}


def schema_of(draft_request: DraftRequest) -> str:
    """Return the schema which `draft_request` prescribes, empty for free text.

    Raises SpecialistError("schema not supported") for what is no schema of an object.
    """
    asked = msgspec.json.decode(draft_request.response_format or b"{}")
    match asked.get("type"):
        case "json_schema":
            schema: Any = (asked.get("json_schema") or {}).get("schema", {"type": "object"})
        case "json_object":
            schema = {"type": "object"}
        case _:
            return ""
    if not isinstance(schema, dict):
        raise SpecialistError("schema not supported")
    return msgspec.json.encode({**schema, "x-guidance": _BLANKS}).decode()
