"""What people wrote in Label Studio comes back as the answers to the requests of its tasks."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.errors import ConfigError
from gateway.harvest.annotations import Annotated, is_export, read_annotations
from gateway.harvest.base import Row
from gateway.harvest.formats import label_studio
from gateway.wire.tool_calls import ToolCall, render_tool_calls


def annotated(row: Row, *answers: str | None) -> bytes:
    """Return our own export with annotations as Label Studio adds them; None for a task that was skipped."""
    stream = io.BytesIO()
    label_studio.write([row], stream)
    (task,) = json.loads(stream.getvalue())
    task["annotations"] = [
        {
            "id": number,
            "was_cancelled": answer is None,
            "completed_by": 1,
            "result": [] if answer is None else [result(task, answer)],
        }
        for number, answer in enumerate(answers)
    ]
    return json.dumps([{"id": 7, **task}]).encode()


def result(task: dict[str, Any], answer: str) -> dict[str, Any]:
    (prediction,) = task["predictions"]
    (own,) = prediction["result"]
    return {**own, "id": "new", "value": {"text": answer.split("|")}, "origin": "manual"}


def test_the_last_answer_to_a_task_counts(row: Callable[..., Row]) -> None:
    content = annotated(row(), "refund", "card_lost")

    assert is_export(content)
    assert list(read_annotations(content)) == [Annotated("req-1", "card_lost")]


def test_an_answer_of_several_lines_is_one(row: Callable[..., Row]) -> None:
    assert list(read_annotations(annotated(row(), "one|two"))) == [Annotated("req-1", "one\ntwo")]


@pytest.mark.parametrize("kept", [{}, {"answer": ""}])
def test_a_tool_call_comes_back_as_it_is_learnt(row: Callable[..., Row], kept: dict[str, str]) -> None:
    """The prediction was the message's JSON: submitted unchanged, it was learnt as a text."""
    call = render_tool_calls([ToolCall("find", msgspec.Raw(b'{"id":1}'))])
    function = {"name": "find", "arguments": '{"id":1}'}
    reply = [{"role": "assistant", "tool_calls": [{"id": "c", "function": function}]}]
    stream = io.BytesIO()
    label_studio.write([row(**{"answer": call, "reply": json.dumps(reply).encode()} | kept)], stream)
    (task,) = json.loads(stream.getvalue())
    task["annotations"] = [{"result": task["predictions"][0]["result"]}]

    assert list(read_annotations(json.dumps([task]).encode())) == [Annotated("req-1", call)]


def test_blanks_around_an_answer_are_not_learnt(row: Callable[..., Row]) -> None:
    assert list(read_annotations(annotated(row(), " refund \n"))) == [Annotated("req-1", "refund")]


@pytest.mark.parametrize("answers", [(), (None,), ("  ",)])
def test_a_task_without_an_answer_says_nothing(
    row: Callable[..., Row], answers: tuple[str | None, ...]
) -> None:
    assert list(read_annotations(annotated(row(), *answers))) == []


def test_another_file_is_refused() -> None:
    assert not is_export(b'{"request_id": "r", "answer": "a"}')
    with pytest.raises(ConfigError, match="no export of Label Studio"):
        list(read_annotations(b'[{"data": {}}]'))


@pytest.mark.parametrize("answer", ["[]", '[{"id": "c"}]', "[1]"])
def test_a_list_that_is_no_call_comes_back_as_it_is(answer: str) -> None:
    result = {"type": "textarea", "value": {"text": [answer]}}
    task = {"data": {"request_id": "r"}, "annotations": [{"result": [result]}]}

    assert list(read_annotations(json.dumps([task]).encode())) == [Annotated("r", answer)]
