"""A client's schema is obeyed wherever judging by it is safe."""

from __future__ import annotations

import json
import socket

import msgspec
import pytest

from gateway.wire.schema import MAX_BYTES, SchemaError, answer_schema, is_valid, tool_schemas

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"$ref": "#/$defs/age"}},
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"age": {"type": "integer", "minimum": 0}},
}


def field(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "Ada", "age": 36}', True),
        ('{"name": "Ada"}', True),
        ('{"name": "Ada", "age": -1}', False),
        ('{"name": "Ada", "email": ""}', False),
        ('{"age": 3}', False),
        ("[]", False),
    ],
)
def test_an_answer_follows_its_schema_or_not(text: str, expected: bool) -> None:
    assert is_valid(text, field(PERSON)) is expected


def test_only_a_json_schema_prescribes_one() -> None:
    named = {"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": PERSON}}

    assert json.loads(answer_schema(field(named)) or b"") == PERSON
    assert answer_schema(field({"type": "json_object"})) is None
    assert answer_schema(field({"type": "json_schema", "json_schema": {"name": "p"}})) is None


def test_each_function_has_the_schema_of_its_arguments() -> None:
    tools = [
        {"type": "function", "function": {"name": "add", "parameters": PERSON}},
        {"type": "function", "function": {"name": "ping"}},
        {"type": "custom", "custom": {"name": "sql"}},
    ]

    schemas = tool_schemas(field(tools))

    assert schemas.keys() == {"add", "ping"}
    assert json.loads(schemas["add"]) == PERSON
    assert json.loads(schemas["ping"]) == {"type": "object"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"pattern": "("},
        {"$schema": "https://example.com/own"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "file:///etc/hostname"},
        {"pattern": "(?=look)ahead"},
    ],
)
def test_a_schema_that_cannot_be_judged_by_is_an_error(schema: object) -> None:
    with pytest.raises(SchemaError):
        is_valid("{}", field(schema))


def test_no_schema_makes_us_call_an_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        with pytest.raises(SchemaError, match="disabled"):
            is_valid("{}", field({"$ref": f"http://127.0.0.1:{server.getsockname()[1]}/x.json"}))
        with pytest.raises(BlockingIOError):
            server.accept()


def test_references_that_multiply_are_refused_before_they_cost() -> None:
    """They would take 2^40 steps."""
    twice = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}
    schema = {"$ref": "#/$defs/a0", "$defs": {**twice, "a40": {"type": "object"}}}

    with pytest.raises(SchemaError, match="references"):
        is_valid("{}", field(schema))


def test_a_pattern_takes_linear_time() -> None:
    """A backtracking engine would need 2^40 steps."""
    assert not is_valid('"' + "a" * 40 + '!"', field({"type": "string", "pattern": "^(a+)+$"}))


@pytest.mark.parametrize("read", [answer_schema, tool_schemas])
def test_a_huge_field_is_not_read(read: object) -> None:
    assert callable(read)
    with pytest.raises(SchemaError, match="bytes"):
        read(b"x" * (MAX_BYTES + 1))


def test_a_text_that_is_no_json_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        is_valid("plain", field(PERSON))
