"""Parquet with every column of a row, for DuckDB, Spark, pandas and `datasets`. Needs the extra `data`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import msgspec

from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.examples import list_replies

SUFFIX = ".parquet"
LEFT_OUT = "that cannot be written"
COLUMNS = {
    "request_id": "VARCHAR",
    "at": "DOUBLE",
    "task": "VARCHAR",
    "match": "VARCHAR",
    "model": "VARCHAR",
    "template": "VARCHAR",
    "text": "VARCHAR",
    "answer": "VARCHAR",
    "messages": "VARCHAR",
    "replies": "VARCHAR",
    "tools": "VARCHAR",
    "response_format": "VARCHAR",
    "may_call_in_parallel": "BOOLEAN",
    "is_held_out": "BOOLEAN",
    "is_lesson": "BOOLEAN",
    "propensity": "DOUBLE",
    "ending": "VARCHAR",
    "form": "VARCHAR",
    "draft": "VARCHAR",
    "draft_version": "BIGINT",
    "draft_score": "DOUBLE",
    "prompt_tokens": "BIGINT",
    "completion_tokens": "BIGINT",
    "caller": "VARCHAR",
    "tenant": "VARCHAR",
    "user": "VARCHAR",
    "policy": "VARCHAR",
    "scope": "VARCHAR",
}
"""The columns in their order, and DuckDB's type of each. `messages`, `replies`, `tools` and
`response_format` are JSON, empty when absent."""

_encode = msgspec.json.Encoder().encode


def write(rows: Iterable[Row], stream: IO[bytes], *, with_held_out: bool = False) -> int:
    """Write one Parquet file (zstd). Raises ConfigError without DuckDB."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "rows.jsonl"), Path(folder, "rows.parquet")
        written = _write_lines(rows, source, with_held_out=with_held_out)
        _convert(source, target)
        with target.open("rb") as parquet:
            shutil.copyfileobj(parquet, stream)
    return written


def _write_lines(rows: Iterable[Row], path: Path, *, with_held_out: bool) -> int:
    written = 0
    with path.open("wb") as lines:
        for row in rows:
            if row.is_held_out and not with_held_out:
                continue
            lines.write(_encode(_record(row)) + b"\n")
            written += 1
    return written


def _record(row: Row) -> dict[str, object]:
    told = {name: getattr(row, name) for name in COLUMNS if name != "replies"}
    texts = {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for name, value in told.items()
    }
    return texts | {"replies": _encode(list_replies(row)).decode()}


def _convert(source: Path, target: Path) -> None:
    try:
        import duckdb
    except ImportError as exc:
        raise ConfigError("the format parquet needs DuckDB: pip install 'stepdown[data]'") from exc
    # One thread and the order of the lines: the same rows give the same bytes.
    with duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False}) as connection:
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
        connection.execute(
            f"COPY (SELECT * FROM read_json('{source}', format = 'newline_delimited', "  # noqa: S608
            f"columns = {{{columns}}}, maximum_object_size = 268435456)) "
            f"TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )
