"""Records of conversations in files that other tools wrote, one by one, damaged ones by name."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gateway.errors import ConfigError

CSV_SUFFIXES = frozenset({".csv", ".tsv"})
_LONGEST_FIELD = 1 << 24

_record = msgspec.json.Decoder(dict[str, Any])


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A request and what was answered to it, as fields of the chat API."""

    fields: dict[str, Any]
    """Of the request; messages are among them."""
    answer: dict[str, Any]
    """The assistant's message."""


class RecordError(ValueError):
    """A record that cannot be read; the message says why."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a file, and the conversation there, or why there is none."""

    file: str
    number: int
    """Of its line, from 1; of a CSV, of the line after the head."""
    conversation: Conversation | None = None
    error: str = ""


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a CSV that hold what was asked and what was answered."""

    text: str = "text"
    answer: str = "answer"


def read_records(path: Path, columns: Columns) -> Iterator[Record]:
    """Yield the records of a file: JSON Lines, or a CSV with a head.

    A line of JSON is OpenAI's form for fine-tuning (`messages` that end with the assistant's, `tools`), a
    stored completion (`request` and `response`), or {"messages", "answer"}. Raises ConfigError for a file
    that cannot be read at all.
    """
    try:
        if path.suffix.lower() in CSV_SUFFIXES:
            yield from _read_csv(path, columns)
        else:
            yield from _read_lines(path)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def _read_lines(path: Path) -> Iterator[Record]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                conversation = _read_json(_record.decode(line))
            except (msgspec.MsgspecError, RecordError, RecursionError) as exc:
                yield Record(file=str(path), number=number, error=str(exc))
            else:
                yield Record(file=str(path), number=number, conversation=conversation)


def _read_csv(path: Path, columns: Columns) -> Iterator[Record]:
    csv.field_size_limit(_LONGEST_FIELD)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        if missing := {columns.text, columns.answer} - set(reader.fieldnames or ()):
            known = ", ".join(reader.fieldnames or ()) or "none"
            raise ConfigError(f"{path}: no column '{min(missing)}'; known: {known}")
        for number, row in enumerate(reader, start=1):
            text, answer = row[columns.text], row[columns.answer]
            if not text or not answer:
                yield Record(file=str(path), number=number, error="text or answer is empty")
                continue
            message = {"role": "user", "content": text}
            conversation = Conversation(fields={"messages": [message]}, answer=_message(answer))
            yield Record(file=str(path), number=number, conversation=conversation)


def _read_json(record: dict[str, Any]) -> Conversation:
    if "request" in record and "response" in record:
        return _read_completion(record["request"], record["response"])
    messages = record.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RecordError("no `messages`")
    if "answer" in record:
        answer = record["answer"]
        if not isinstance(answer, str) or not answer:
            raise RecordError("`answer` is not text")
        fields = {name: value for name, value in record.items() if name != "answer"}
        return Conversation(fields=fields, answer=_message(answer))
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "assistant":
        raise RecordError("the last message is not the assistant's, and there is no `answer`")
    if last.get("weight") == 0:
        raise RecordError("the answer has the weight 0: it is not to be learnt")
    return Conversation(fields={**record, "messages": messages[:-1]}, answer=last)


def _read_completion(request: Any, response: Any) -> Conversation:
    try:
        choice = response["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        fields = {**request, "messages": list(request["messages"])}
    except (KeyError, IndexError, TypeError) as exc:
        raise RecordError("`request` and `response` are not those of a chat completion") from exc
    if reason not in ("stop", "tool_calls", None):
        raise RecordError(f"the answer ended with {reason}")
    return Conversation(fields=fields, answer=message)


def _message(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}
