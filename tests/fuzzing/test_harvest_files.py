"""Any bytes in a file of the harvest: its rows, less some, or one clear line; never a traceback."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.formats import openai
from gateway.harvest.outbox import Outbox
from gateway.harvest.reader import HarvestReader
from gateway.harvest.table import COLUMNS

ROWS = 20
ROW = Row(
    request_id="req-1", at=1.0, task="cards", match="fingerprint", template="feed", model="giant",
    template_text="You sort questions.", contract_hash="beef", text="where is my card?", answer="arrival",
    messages=b'[{"role":"user","content":"where is my card?"}]', is_held_out=False, propensity=0.3,
)  # fmt: skip
VALUES = (
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
)
DAMAGES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=40)), min_size=1, max_size=4
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of harvested rows, its log written into it."""
    file = tmp_path_factory.mktemp("whole") / "worker-0.db"
    outbox = Outbox(file)
    for number in range(ROWS):
        outbox.put(msgspec.structs.replace(ROW, at=float(number), text="where? " * number))
    outbox.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("harvest")


def read_or_refuse(folder: Path) -> list[Row] | None:
    """Return the rows, None for one clear line."""
    reader = HarvestReader(folder)
    try:
        for count in reader.counts().values():
            assert count.training + count.held_out >= 0
        stats = reader.stats()
        assert 0 <= (stats.oldest_at or 0) <= (stats.newest_at or 0) < 5e9
        rows = reader.rows("cards").rows
        reader.rows("cards", with_messages=False)
        openai.write(rows, io.BytesIO(), with_held_out=True)
    except ConfigError as exc:
        assert str(folder) in str(exc)
        return None
    return rows


def put(folder: Path, content: bytes) -> Path:
    file = folder / "worker-0.db"
    for name in ("worker-0.db-wal", "worker-0.db-shm", "worker-0.db-journal"):
        (folder / name).unlink(missing_ok=True)
    file.write_bytes(content)
    return file


@given(damages=DAMAGES)
@example(damages=[(0.15625, b"0'\x80")])
def test_damaged_bytes_give_rows_or_one_line(
    folder: Path, whole: Path, damages: list[tuple[float, bytes]]
) -> None:
    content = bytearray(whole.read_bytes())
    for place, damage in damages:
        at = int(place * len(content))
        content[at : at + len(damage)] = damage
    put(folder, bytes(content))

    read_or_refuse(folder)


@given(st.floats(0, 1))
def test_a_file_that_is_cut_gives_rows_or_one_line(folder: Path, whole: Path, share: float) -> None:
    content = whole.read_bytes()
    put(folder, content[: int(share * len(content))])

    read_or_refuse(folder)


@given(st.sampled_from([name for name in COLUMNS if name != "task"]), VALUES)
@example("text", b"\xff")
@example("at", float("inf"))
@example("is_held_out", "much")
@example("is_held_out", -20)
@example("messages", b"{")
def test_a_row_that_cannot_be_read_costs_no_other(
    folder: Path, whole: Path, column: str, value: object
) -> None:
    with closing(sqlite3.connect(put(folder, whole.read_bytes()))) as connection, connection:
        try:
            connection.execute(f"UPDATE rows SET {column} = ? WHERE id = 3", (value,))
        except sqlite3.IntegrityError:
            return

    rows = read_or_refuse(folder)

    assert rows is not None
    assert len(rows) in (ROWS - 1, ROWS)
