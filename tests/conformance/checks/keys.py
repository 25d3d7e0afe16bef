"""Refusals of a gateway that knows its clients by keys of its own, and who may ask again."""

from __future__ import annotations

from tests.conformance.checks.errors import assert_error
from tests.conformance.harness import Harness, chat_body
from tests.conformance.table import check
from tests.conformance.teacher import reset

RETRIES = "openai-python _base_client.py, _should_retry"
PATHS = (
    "/chat/completions",
    "/responses",
    "/embeddings",
    "/files",
    "/batches",
    "/images/generations",
    "/new",
)


@check(1201, "a request that was sent once and lost may be sent again by its client", source=RETRIES)
def lost_once(harness: Harness) -> None:
    harness.teacher.repeat([reset])
    got = harness.ask("POST", "/batches", b'{"input_file_id":"file-1"}')
    assert_error(got)
    assert got.value("x-should-retry") != "false", "the client's own retries are taken from it"


@check(1202, "an unknown key is 401 on every path, and the teacher hears nothing", source="API: Error codes")
def unknown_key(harness: Harness) -> None:
    own = harness.own
    for path in PATHS:
        seen = len(own.teacher.seen)
        got = own.ask("POST", path, chat_body(), {"authorization": f"Bearer sd-{'x' * 43}"})
        assert_error(got)
        assert (got.status, got.json["error"]["code"]) == (401, "invalid_api_key"), f"{path}: {got.status}"
        assert got.value("x-stepdown-decision") == "refused", f"{path}: no label"
        assert len(own.teacher.seen) == seen, f"{path}: the teacher was asked"
