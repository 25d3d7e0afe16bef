"""Records of conversations in files that other tools wrote, one by one, damaged ones by name."""

from __future__ import annotations

import csv
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from gateway.config.plugins import list_plugins, load_plugin
from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.conversations import Conversation, RecordError, Shape, make_message

CSV_SUFFIXES = frozenset({".csv", ".tsv"})
PARQUET_SUFFIX = ".parquet"
SHAPES = "gateway.harvest.shapes"
_LONGEST_FIELD = 1 << 24
_LONGEST_START = 64
"""Bytes among which an array must begin."""
_PLAINEST = "openai"
"""Asked last: others have a field `messages`, too."""

_json = msgspec.json.Decoder()


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a file, and a conversation there, or why there is none."""

    file: str
    number: int
    """Of its line, from 1; of a table, of the row after the head."""
    conversation: Conversation | None = None
    error: str = ""
    repeats: Row | None = None
    """The row whose request it repeats: it is forgotten with that one, and kept no longer."""


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a table that hold what was asked and what was answered."""

    text: str = "text"
    answer: str = "answer"


def read_records(path: Path, columns: Columns) -> Iterator[Record]:
    """Yield the conversations of a file: JSON Lines, a JSON array, CSV with a head, or Parquet.

    A table that has both of `columns` is read by these; any other row, and each object of JSON, by the
    shape of `harvest/shapes/` that it has. Raises ConfigError for a file that cannot be read at all.
    """
    shapes = _Shapes()
    try:
        for number, row in _read_rows(path, columns):
            yield from _read_row(row, columns, shapes, path, number)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise ConfigError(f"{path}: {exc}") from exc


class _Shapes:
    """Every shape that there is, in the order of asking."""

    def __init__(self) -> None:
        names = sorted(list_plugins(SHAPES), key=lambda name: (name == _PLAINEST, name))
        self._shapes: list[Shape] = [load_plugin(SHAPES, name) for name in names]

    def read(self, record: Any) -> list[Conversation]:
        """Return the conversations of a record. Raises RecordError if it has no shape that is known."""
        if not isinstance(record, dict):
            raise RecordError("not an object")
        for shape in self._shapes:
            found = shape.read_record(record)
            if found is not None:
                return found
        raise RecordError("no `messages`, nor any other known shape")


def _read_row(row: Any, columns: Columns, shapes: _Shapes, path: Path, number: int) -> Iterator[Record]:
    try:
        if isinstance(row, bytes):
            row = _json.decode(row)
        else:
            _check_text(row)
        found = [_read_columns(row, columns)] if _has_columns(row, columns) else shapes.read(row)
    except (msgspec.MsgspecError, RecordError, RecursionError) as exc:
        yield Record(file=str(path), number=number, error=str(exc))
        return
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
        # Shapes look into records as if these were whole.
        yield Record(file=str(path), number=number, error=f"a field is not as this shape has it: {exc}")
        return
    for conversation in found:
        yield _make_record(conversation, path, number)


def _make_record(conversation: Conversation, path: Path, number: int) -> Record:
    message: Any = conversation.answer
    if not isinstance(message, dict):
        return Record(file=str(path), number=number, error="the answer is no message")
    if conversation.surface == "chat":
        answer = {**message, "content": _join_texts(message.get("content"))}
        conversation = msgspec.structs.replace(conversation, answer=answer)
    return Record(file=str(path), number=number, conversation=conversation)


def _join_texts(content: Any) -> Any:
    """Return the text of an answer that was written down in parts; anything else as it is."""
    if not isinstance(content, list) or not content:
        return content
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    said = [text for text in texts if isinstance(text, str)]
    return "".join(said) if len(said) == len(content) else content


def _read_rows(path: Path, columns: Columns) -> Iterator[tuple[int, Any]]:
    suffix = path.suffix.lower()
    if suffix in CSV_SUFFIXES:
        return _read_csv(path, columns)
    if suffix == PARQUET_SUFFIX:
        return _read_parquet(path, columns)
    return _read_json(path)


def _read_json(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as lines:
        start = lines.read(_LONGEST_START)
        # Programs on Windows begin a file with the mark of its encoding.
        mark = len(BOM_UTF8) if start.startswith(BOM_UTF8) else 0
        lines.seek(mark)
        if start[mark:].lstrip()[:1] == b"[":
            try:
                yield from enumerate(msgspec.json.decode(lines.read(), type=list[Any]), start=1)
            except msgspec.MsgspecError as exc:
                raise ConfigError(f"{path}: {exc}") from exc
            return
        yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _read_csv(path: Path, columns: Columns) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(_LONGEST_FIELD)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    # What is no UTF-8 is a mistake of its row alone: see `_check_text`.
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        _check_head(path, reader.fieldnames or (), columns)
        yield from enumerate(reader, start=1)


def _check_text(row: Any) -> None:
    """Raise RecordError for a row of a table whose bytes were no UTF-8."""
    values = row.values() if isinstance(row, dict) else ()
    try:
        for value in values:
            if isinstance(value, str):
                value.encode()
    except UnicodeEncodeError as exc:
        raise RecordError("not UTF-8") from exc


def _read_parquet(path: Path, columns: Columns) -> Iterator[tuple[int, Any]]:
    try:
        import duckdb
    except ImportError as exc:
        raise ConfigError("Parquet is read by DuckDB: pip install 'stepdown[data]'") from exc
    path.stat()
    try:
        with duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False}) as connection:
            found = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
            names = [name for name, *_ in found.description]
            _check_head(path, names, columns)
            number = 0
            while rows := found.fetchmany(1_000):
                for row in rows:
                    number += 1
                    yield number, dict(zip(names, row, strict=True))
    except duckdb.Error as exc:
        raise ConfigError(f"{path}: {str(exc).splitlines()[0]}") from exc


def _check_head(path: Path, names: Iterable[str], columns: Columns) -> None:
    """Raise ConfigError unless a table has the named columns, or those of some known shape."""
    known = list(names)
    missing = {columns.text, columns.answer} - set(known)
    if missing and not {"messages", "output", "response", "attributes"} & set(known):
        listed = ", ".join(known) or "none"
        raise ConfigError(f"{path}: no column '{min(missing)}'; known: {listed}")


def _has_columns(row: Any, columns: Columns) -> bool:
    return isinstance(row, dict) and {columns.text, columns.answer} <= row.keys() and "messages" not in row


def _read_columns(row: dict[str, Any], columns: Columns) -> Conversation:
    text, answer = row[columns.text], row[columns.answer]
    if not text or not answer:
        raise RecordError("text or answer is empty")
    message = {"role": "user", "content": str(text)}
    return Conversation(fields={"messages": [message]}, answer=make_message(str(answer)))
