"""The committed reference and schemas say what the code says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from gateway.processes.reference import Topic, write_reference, write_schema

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("topic", "name"), [("settings", "gateway/config/REFERENCE.md"), ("policies", "policies/REFERENCE.md")]
)
def test_the_reference_is_what_the_code_says(topic: Topic, name: str) -> None:
    """To mend it: `stepdown config reference TOPIC > NAME`."""
    assert (ROOT / name).read_text(encoding="utf-8") == write_reference(topic)


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("settings", "gateway/config/settings.schema.json"),
        ("policies", "policies/policies.schema.json"),
    ],
)
def test_the_schema_is_what_the_code_says(topic: Topic, name: str) -> None:
    """To mend it: `stepdown config schema TOPIC > NAME`."""
    assert (ROOT / name).read_text(encoding="utf-8") == write_schema(topic)


def test_the_schema_knows_no_secret_and_explains_the_other_keys() -> None:
    schema = json.loads(write_schema("settings"))
    upstream = schema["$defs"]["Upstream"]["properties"]

    assert "api_key" not in upstream
    assert upstream["connect_timeout_s"]["description"] == "DNS, TCP and TLS together."


def test_every_key_of_a_policy_is_in_the_reference() -> None:
    text = write_reference("policies")

    for key in json.loads(write_schema("policies"))["$defs"]["Policy"]["properties"]:
        assert f"`{key}`" in text or f"## {key}:" in text


def test_the_schema_takes_a_right_file_and_refuses_a_wrong_one() -> None:
    schema = json.loads(write_schema("policies"))

    assert jsonschema_rs.is_valid(schema, {"policies": [{"name": "a", "alpha": 0.05}]})
    assert not jsonschema_rs.is_valid(schema, {"policies": [{"name": "a", "alhpa": 0.05}]})
