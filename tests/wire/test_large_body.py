"""What a large body holds is counted before it is decoded, whatever its texts look like."""

from __future__ import annotations

import json
import re
import time

import pytest

from gateway.errors import UnreadableBodyError
from gateway.wire import large_body
from gateway.wire.large_body import (
    MOST_DEPTH,
    MOST_OBJECTS,
    MOST_VALUES,
    check_utf8,
    count_in_steps,
    find_top_names,
    has_match,
    refuse_costly_body,
)


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[' + b'{"role":"user"},' * (MOST_OBJECTS + 1) + b"{}]}",
        b'{"input":[' + b"1," * (MOST_VALUES + 1) + b"1]}",
        b"[" * (MOST_OBJECTS + 1),
        b'{"a":"' + b"x" * 3_000_000 + b'","b":[' + b"[]," * (MOST_OBJECTS + 1) + b"0]}",
        b'{"a":"\\\\","b":[' + b"[]," * (MOST_OBJECTS + 1) + b"0]}",
    ],
    ids=["messages", "numbers", "depth", "behind a long text", "behind a backslash"],
)
def test_more_values_than_any_api_takes_are_not_decoded(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError) as refused:
        refuse_costly_body(body)

    assert (refused.value.status, refused.value.reason) == (413, "too many values")


@pytest.mark.parametrize("step", [2, 3, 1000, 256 << 10])
@pytest.mark.parametrize(
    "text", ['{"a": "b"}, ' * MOST_OBJECTS, "\\" * 9_999 + '"[', "x" * 10_000, "{[" * MOST_OBJECTS, '"']
)
def test_text_that_looks_like_json_counts_as_one_value(
    text: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if step < 4 and len(text) > 20_000:
        text = text[:20_000]
        monkeypatch.setattr(large_body, "MOST_OBJECTS", 10)
        monkeypatch.setattr(large_body, "MOST_VALUES", 10)
    monkeypatch.setattr(large_body, "STEP_BYTES", step)

    refuse_costly_body(json.dumps({"messages": [{"role": "user", "content": text}]}).encode())


def test_a_text_without_an_end_is_left_to_the_decoder() -> None:
    refuse_costly_body(b"{" * 10 + b'"' + b"[" * (MOST_OBJECTS + 1))


@pytest.mark.parametrize("step", [4, 5, 1000])
def test_what_is_looked_for_step_by_step_is_found_across_the_steps(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_body, "STEP_BYTES", step)
    body = b'..."model"."model"....."model"'

    assert count_in_steps(body, b'"model"') == 3
    assert has_match(re.compile(rb"del\"\.\.\."), body, 7)
    assert not has_match(re.compile(b"none"), body, 4)


@pytest.mark.parametrize("step", [4, 5, 1000])
@pytest.mark.parametrize("bad_at", [None, 0, 7, 20])
def test_what_is_not_utf8_is_found_in_its_place(
    step: int, bad_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_body, "STEP_BYTES", step)
    text = "日本".encode() * 4
    if bad_at is None:
        check_utf8(text)
        return
    with pytest.raises(UnicodeDecodeError):
        check_utf8(text[:bad_at] + b"\xff" + text[bad_at:])


def test_a_character_that_is_cut_off_at_the_end_is_no_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_body, "STEP_BYTES", 4)
    with pytest.raises(UnicodeDecodeError):
        check_utf8("日本語".encode()[:-1])


@pytest.mark.parametrize("step", [2, 3, 256 << 10])
@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"a":1}',
        b'{"a":{"b":[{"c":1},"d","e"]},"f":"\\"g\\":","h\\\\":[],"a":[[{}],2]}',
        b' { "a" : "x,{" , "\\u0061" : null, "": true } ',
    ],
)
def test_the_names_at_the_top_are_those_that_a_decoder_sees(
    body: bytes, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_body, "STEP_BYTES", step)
    pairs = json.loads(body, object_pairs_hook=list)

    assert [json.loads(b'"%b"' % name) for name in find_top_names(body)] == [name for name, _ in pairs]


@pytest.mark.parametrize("brackets", [b"[]", b"{}"], ids=["arrays", "objects"])
def test_more_levels_than_a_decoder_can_follow_are_not_decoded(brackets: bytes) -> None:
    def nest(levels: int) -> bytes:
        begin = brackets[:1] + (b'"a":' if brackets == b"{}" else b"")
        return begin * levels + b"1" + brackets[1:] * levels

    refuse_costly_body(b'{"a":[' + b"[]," * 1_000 + nest(MOST_DEPTH - 2) + b"]}")
    with pytest.raises(UnreadableBodyError) as refused:
        refuse_costly_body(b'{"a":[' + b"[]," * 1_000 + nest(MOST_DEPTH - 1) + b"]}")

    assert (refused.value.status, refused.value.reason) == (413, "too many levels")


def test_what_closes_more_than_it_opens_is_left_to_the_decoder_soon() -> None:
    """It would be walked through bracket by bracket for minutes."""
    began = time.process_time()

    refuse_costly_body(b"]" * 30_000_000 + b"[" * (MOST_DEPTH + 1))

    assert time.process_time() - began < 2.0
