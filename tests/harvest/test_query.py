"""SQL over all workers' rows that can change nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.query import fetch_rows, run_interruptibly, run_query
from gateway.store.database import Database


@pytest.fixture
def filled(outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]) -> Path:
    for n in range(3):
        box = outbox(n)
        box.put(row(request_id=f"req-{n}", draft="refund", draft_score=0.5 + n / 10))
        box.flush()
    return folder


def test_a_query_sees_the_rows_of_all_workers(filled: Path) -> None:
    answer = run_query(filled, "SELECT task, count(*) AS n FROM rows GROUP BY task")

    assert (answer.columns, answer.rows) == (["task", "n"], [("cards", 3)])


def test_drafts_and_messages_can_be_asked_for(filled: Path) -> None:
    query = (
        "SELECT json_extract(messages, '$[0].content'), draft, draft_score FROM rows "
        "WHERE draft <> answer ORDER BY draft_score DESC"
    )

    assert run_query(filled, query, limit=1).rows == [("where is my card?", "refund", 0.7)]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM worker_0.rows",
        "UPDATE worker_1.rows SET answer = 'x'",
        "DROP TABLE worker_0.rows",
        "ATTACH '/tmp/other.db' AS other",
        "PRAGMA query_only = 0",
        "SELECT load_extension('x')",
        "CREATE TABLE t (x)",
        "VACUUM",
        "no SQL at all",
        "SELECT 1; DELETE FROM worker_0.rows",
        "",
    ],
)
def test_nothing_but_reading_is_allowed(filled: Path, sql: str) -> None:
    with pytest.raises(ConfigError):
        run_query(filled, sql)

    assert run_query(filled, "SELECT count(*) FROM rows").rows == [(3,)]


def test_files_of_an_older_stepdown_can_be_asked(filled: Path) -> None:
    """They lack columns."""
    with closing(sqlite3.connect(filled / "worker-1.db")) as connection:
        for column in ("more", "policy"):
            connection.execute(f"ALTER TABLE rows DROP COLUMN {column}")

    rows = run_query(filled, "SELECT policy, draft FROM rows ORDER BY request_id").rows

    assert rows == [("", "refund"), ("", ""), ("", "refund")]


def test_a_worker_that_has_written_nothing_yet_is_passed_by(filled: Path) -> None:
    Database(filled / "worker-9.db").close()

    assert run_query(filled, "SELECT count(*) FROM rows").rows == [(3,)]


def test_more_files_than_sql_reads_are_not_left_out_silently(filled: Path) -> None:
    for number in range(3, 12):
        Database(filled / f"worker-{number}.db").close()

    with pytest.raises(ConfigError, match="12 files"):
        run_query(filled, "SELECT 1")


def test_a_harvest_that_has_not_begun_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no rows yet"):
        run_query(tmp_path, "SELECT 1")


def test_an_endless_query_ends_with_the_interrupt() -> None:
    """A database at work hears no signal itself."""
    endless = "WITH RECURSIVE t(n) AS (SELECT begin() UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t"
    begun, ended = threading.Event(), list[str]()

    def begin() -> int:
        begun.set()
        return 1

    def work() -> None:
        try:
            connection.execute(endless)
        except sqlite3.OperationalError as exc:
            ended.append(str(exc))

    def press_ctrl_c() -> None:
        begun.wait()
        os.kill(os.getpid(), signal.SIGINT)

    # A program that was started in the background ignores the keys.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        connection.create_function("begin", 0, begin)
        pressing = threading.Thread(target=press_ctrl_c)
        pressing.start()
        with pytest.raises(KeyboardInterrupt):
            run_interruptibly(work, connection.interrupt)
        pressing.join()
    signal.signal(signal.SIGINT, before)

    assert ended == ["interrupted"]


def test_a_result_that_would_fill_the_memory_is_refused(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.harvest.query._MOST_RESULT_BYTES", 1_000)

    with pytest.raises(ConfigError, match="larger than"):
        run_query(filled, "SELECT hex(zeroblob(400)) FROM rows")

    assert len(run_query(filled, "SELECT hex(zeroblob(400)) FROM rows", limit=1).rows) == 1


@pytest.mark.parametrize("value", ["n", "NULL"])
def test_an_endless_result_of_numbers_is_refused(
    filled: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """Numbers fill a memory as texts do; without the bound this test would not end."""
    monkeypatch.setattr("gateway.harvest.query._MOST_RESULT_BYTES", 10_000)
    endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 1000000)"

    with pytest.raises(ConfigError, match="larger than"):
        run_query(filled, f"{endless} SELECT {value} FROM t")


def test_no_row_is_fetched_beyond_a_result_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value may have a gigabyte: a hundred of them would fill the memory before they were counted."""
    monkeypatch.setattr("gateway.harvest.query._MOST_RESULT_BYTES", 1_000)
    made = list[int]()

    class Cursor:
        description = (("x",),)

        def fetchone(self) -> tuple[str] | None:
            made.append(1)
            return ("x" * 2_000,)

        def fetchmany(self, count: int) -> list[tuple[str]]:
            return [row for _ in range(count) if (row := self.fetchone())]

    with pytest.raises(ConfigError, match="larger than"):
        fetch_rows(Cursor(), None)

    assert len(made) == 1
