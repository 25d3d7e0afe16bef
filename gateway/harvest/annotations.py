"""Annotations of Label Studio: the answers that people wrote to the tasks of the export `label_studio`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.errors import ConfigError
from gateway.wire.replies import parse_reply_calls
from gateway.wire.tool_calls import make_tool_call, render_tool_calls


class Annotated(msgspec.Struct, frozen=True):
    """The answer that a person gave to a request."""

    request_id: str
    answer: str


class _Result(msgspec.Struct):
    type: str = ""
    value: dict[str, Any] = {}


class _Annotation(msgspec.Struct):
    result: list[_Result] = []
    was_cancelled: bool = False


class _Data(msgspec.Struct):
    request_id: str


class _Task(msgspec.Struct):
    data: _Data
    annotations: list[_Annotation] = []


_tasks = msgspec.json.Decoder(list[_Task])


def is_export(content: bytes) -> bool:
    """Return whether `content` is what Label Studio exports as JSON: an array."""
    return content.lstrip()[:1] == b"["


def read_annotations(content: bytes) -> Iterator[Annotated]:
    """Yield the last answer to each task of an export ("JSON"); tasks that were skipped have none.

    Raises ConfigError for anything but tasks of the export `label_studio`.
    """
    try:
        tasks = _tasks.decode(content)
    except msgspec.MsgspecError as exc:
        raise ConfigError(f"no export of Label Studio as JSON: {exc}") from exc
    for task in tasks:
        answers = [_read_answer(one) for one in task.annotations if not one.was_cancelled]
        if written := [answer for answer in answers if answer]:
            yield Annotated(task.data.request_id, written[-1])


def _read_answer(annotation: _Annotation) -> str:
    texts = [result.value.get("text") for result in annotation.result if result.type == "textarea"]
    # A text area that takes several lines as several submissions lists them.
    said = [text if isinstance(text, list) else [text] for text in texts if text]
    # Blanks around it are a slip of the hand, which would be learnt as another answer.
    return _read_calls("\n".join(str(line) for lines in said for line in lines).strip())


def _read_calls(answer: str) -> str:
    """Return tool calls, which the export shows as messages have them, as they are learnt; a text stays."""
    called = [
        make_tool_call(each.function.name, each.function.arguments) for each in parse_reply_calls(answer)
    ]
    sound = [call for call in called if call is not None]
    # An empty list is an answer, too, and no call; what is broken is refused where verdicts are given.
    return render_tool_calls(sound) if sound and len(sound) == len(called) else answer
