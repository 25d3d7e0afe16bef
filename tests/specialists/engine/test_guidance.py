from __future__ import annotations

import json

import pytest

from gateway.core import DraftRequest
from gateway.specialists.engine.guidance import requested_schema


@pytest.mark.parametrize("field", [b"", b'{"type": "text"}'])
def test_free_text_has_no_schema(field: bytes) -> None:
    assert requested_schema(DraftRequest(text="", response_format=field)) == ""


@pytest.mark.parametrize(
    "field", [b'{"type": "json_object"}', b'{"type": "json_schema", "json_schema": {"name": "any"}}']
)
def test_any_object_is_allowed_where_no_schema_is_given(field: bytes) -> None:
    assert json.loads(requested_schema(DraftRequest(text="", response_format=field)))["type"] == "object"


def test_blanks_are_bounded() -> None:
    """A weak model would write blanks without end."""
    field = b'{"type": "json_schema", "json_schema": {"schema": {"type": "object", "required": ["a"]}}}'
    schema = json.loads(requested_schema(DraftRequest(text="", response_format=field)))
    assert schema["required"] == ["a"]
    assert schema["x-guidance"] == {"whitespace_pattern": "\\n? {0,16}"}
