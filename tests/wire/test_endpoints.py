"""The table of endpoints knows every call of the official SDK."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from gateway.wire.endpoints import ENDPOINTS, find_resource

_CALL = re.compile(r'self\._(get|post|put|patch|delete|get_api_list)\(\s*(?:path_template\(\s*)?f?"([^"?]+)')


def sdk_calls() -> Iterator[tuple[str, str]]:
    """Yield method and path of each call in the installed SDK."""
    for file in (Path(openai.__file__).parent / "resources").rglob("*.py"):
        for verb, path in _CALL.findall(file.read_text(encoding="utf-8")):
            method = "GET" if verb == "get_api_list" else verb.upper()
            yield method, "/v1" + re.sub(r"\{\w+\}", "some-id", path)


def test_every_call_of_the_sdk_is_in_the_table() -> None:
    calls = set(sdk_calls())
    # Its paged lists are all requested with GET, but a search is a POST with a body.
    calls = {("POST" if path.endswith("/search") else method, path) for method, path in calls}

    unknown = sorted(call for call in calls if find_resource(*call).endpoint is None)

    assert len(calls) > 200
    assert unknown == []


def test_a_fixed_word_is_not_taken_for_an_id() -> None:
    found = find_resource("POST", "/v1/responses/compact")

    assert found.endpoint is not None
    assert (found.endpoint.path, found.ids) == ("/v1/responses/compact", ())


def test_ids_are_read_by_name() -> None:
    found = find_resource("DELETE", "/v1/vector_stores/vs_1/files/file-2")

    assert dict(found.ids) == {"vector_store_id": "vs_1", "file_id": "file-2"}


def test_a_model_may_hold_slashes() -> None:
    assert dict(find_resource("GET", "/v1/models/openai/gpt-4o").ids) == {"model": "openai/gpt-4o"}


def test_head_is_looked_up_as_get() -> None:
    found = find_resource("HEAD", "/v1/files")

    assert found.method == "HEAD"
    assert found.endpoint is not None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/files"),
        ("GET", "/v1/unheard-of"),
        ("POST", "/v1/Chat/completions"),
        ("GET", "/"),
        ("GET", "/v1"),
    ],
)
def test_what_is_not_in_the_table_is_unknown(method: str, path: str) -> None:
    assert find_resource(method, path).endpoint is None


def test_no_line_is_there_twice() -> None:
    lines = [(method, endpoint.path) for endpoint in ENDPOINTS for method in endpoint.methods]

    assert len(lines) == len(set(lines))
