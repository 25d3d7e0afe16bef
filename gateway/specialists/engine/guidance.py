"""The JSON schema that an answer must follow, in the form that the library takes."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core import DraftRequest
from gateway.errors import SpecialistError

# As many blanks as an indented line has, so that a student keeps its teacher's layout; without a
# limit a small model would write blanks without end.
_BLANKS = {"whitespace_pattern": "\\n? {0,16}"}


def requested_schema(draft_request: DraftRequest) -> str:
    """Return the schema that `draft_request` prescribes, empty for free text.

    Raises SpecialistError("schema not supported") unless it is the schema of an object.
    """
    wanted = msgspec.json.decode(draft_request.response_format or b"{}")
    match wanted.get("type"):
        case "json_schema":
            schema: Any = (wanted.get("json_schema") or {}).get("schema", {"type": "object"})
        case "json_object":
            schema = {"type": "object"}
        case _:
            return ""
    if not isinstance(schema, dict):
        raise SpecialistError("schema not supported")
    return msgspec.json.encode({**schema, "x-guidance": _BLANKS}).decode()
