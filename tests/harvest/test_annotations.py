"""What people wrote in Label Studio comes back as the answers to the requests of its tasks."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.harvest.annotations import Annotated, is_export, read_annotations
from gateway.harvest.base import Row
from gateway.harvest.formats import label_studio


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


@pytest.mark.parametrize("answers", [(), (None,)])
def test_a_task_without_an_answer_says_nothing(row: Callable[..., Row], answers: tuple[None, ...]) -> None:
    assert list(read_annotations(annotated(row(), *answers))) == []


def test_another_file_is_refused() -> None:
    assert not is_export(b'{"request_id": "r", "answer": "a"}')
    with pytest.raises(ConfigError, match="no export of Label Studio"):
        list(read_annotations(b'[{"data": {}}]'))
