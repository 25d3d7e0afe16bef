"""Logs: one line per record, no keys, no line per request from libraries."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from gateway.telemetry.logs import configure_logging

logger = logging.getLogger("gateway.test")


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_plain_line_has_time_level_logger_and_message() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)

    logger.warning("the disk is %s", "full")

    assert stream.getvalue().endswith("WARNING gateway.test: the disk is full\n")


def test_a_json_line_is_one_object_with_its_traceback() -> None:
    stream = io.StringIO()
    configure_logging(is_json=True, stream=stream)

    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")

    (line,) = stream.getvalue().splitlines()
    logged = json.loads(line)
    assert (logged["level"], logged["logger"], logged["message"]) == ("error", "gateway.test", "failed")
    assert logged["trace"].endswith("ValueError: two\nlines")


@pytest.mark.parametrize("is_json", [False, True], ids=["plain", "json"])
@pytest.mark.parametrize("key", ["sk-proj-abcDEF123456", "sd-uhX3_kk0aaaaaaaa", "Bearer opaque.token"])
def test_keys_are_never_written(key: str, is_json: bool) -> None:
    stream = io.StringIO()
    configure_logging(is_json=is_json, stream=stream)

    try:
        raise RuntimeError(f"refused {key}")
    except RuntimeError:
        logger.exception("calling with %s", {"authorization": key})

    assert key.removeprefix("Bearer ") not in stream.getvalue()
    assert stream.getvalue().count("***") == 2


@pytest.mark.parametrize("library", ["httpx", "uvicorn.access", "httpcore", "openai"])
def test_libraries_do_not_write_a_line_per_request(library: str) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)

    logging.getLogger(library).info("POST /v1/chat/completions 200")

    assert stream.getvalue() == ""


def test_configuring_twice_writes_once() -> None:
    stream = io.StringIO()
    configure_logging(stream=io.StringIO())
    configure_logging(stream=stream)

    logger.warning("once")

    assert stream.getvalue().count("once") == 1


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging("loud")
