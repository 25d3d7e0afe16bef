"""What is removed is gone from the files: by age, by size, and by request."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.query import run_query
from gateway.harvest.reader import Count, HarvestReader
from gateway.harvest.removal import Selection, find_rows, forget, prune, wipe
from gateway.harvest.retention import DAY_S, Retention, find_expiry
from gateway.harvest.table import ADDED

MakeRow = Callable[..., Row]
OpenOutbox = Callable[..., Outbox]
NOW = 100 * DAY_S


def keep(box: Outbox, *rows: Row) -> None:
    for each in rows:
        box.put(each)
    box.flush()


def left(folder: Path) -> list[str]:
    reader = HarvestReader(folder)
    return sorted(row.request_id for task in reader.counts() for row in reader.rows(task).rows)


def holds(folder: Path, word: str) -> bool:
    return any(word.encode() in path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        (Retention(), ["old", "young"]),
        (Retention(keep_days=10), ["young"]),
        (Retention(keep_days=90, by_policy={"short": 10}), ["young"]),
        (Retention(keep_days=90, by_policy={"other": 10}), ["old", "young"]),
    ],
    ids=["no limit", "settings", "its policy", "another policy"],
)
def test_rows_go_by_the_strictest_rule(
    outbox: OpenOutbox, folder: Path, row: MakeRow, retention: Retention, kept: list[str]
) -> None:
    keep(
        outbox(),
        row(request_id="old", at=NOW - 20 * DAY_S, policy="short"),
        row(request_id="young", at=NOW - 5 * DAY_S, policy="short"),
    )

    assert prune(folder, retention, NOW) == 2 - len(kept)
    assert left(folder) == kept


def test_a_promise_made_at_the_time_is_kept_when_the_rules_get_laxer(
    outbox: OpenOutbox, folder: Path, row: MakeRow
) -> None:
    at = NOW - 20 * DAY_S
    keep(outbox(), row(at=at, expires_at=find_expiry(at, None, 30.0, 10.0)))

    assert prune(folder, Retention(keep_days=365), NOW) == 1


def test_above_the_limit_of_size_the_oldest_go_first(outbox: OpenOutbox, folder: Path, row: MakeRow) -> None:
    """Over the files of all workers."""
    for number in range(2):
        rows = [
            row(request_id=f"{2 * n + number:04}", at=float(2 * n + number), text="x" * 2_000)
            for n in range(1_000)
        ]
        keep(outbox(number), *rows)

    removed = prune(folder, Retention(max_mb=3), NOW)

    rest = left(folder)
    assert 0 < len(rest) == 2_000 - removed
    assert rest == [f"{n:04}" for n in range(removed, 2_000)]


def test_what_is_for_exports_alone_goes_before_any_lesson(
    outbox: OpenOutbox, folder: Path, row: MakeRow
) -> None:
    """Pictures must not crowd out what specialists live on."""
    pictures = [row(request_id=f"p{n}", at=100.0 + n, text="x" * 50_000, is_lesson=False) for n in range(40)]
    complaint = row(request_id="complaint", at=0.0, answer="", ending="none", is_lesson=False)
    keep(outbox(), complaint, *(row(request_id=f"lesson-{n}", at=float(n)) for n in range(40)), *pictures)

    prune(folder, Retention(max_mb=1), NOW)

    assert left(folder)[:41] == ["complaint", *sorted(f"lesson-{n}" for n in range(40))]


def test_what_is_forgotten_is_in_no_file(outbox: OpenOutbox, folder: Path, row: MakeRow) -> None:
    """Neither in free pages nor in the log, while the gateway goes on writing."""
    box = outbox()
    tools = b'[{"type":"function","function":{"name":"jane_only"}}]'
    keep(box, row(request_id="a", user="jane", text="private " * 900, tools=tools), row(request_id="b"))
    assert holds(folder, "private")

    (gone,) = forget(folder, Selection(user="jane"))
    assert wipe(folder)

    assert (gone.request_id, gone.task, gone.is_held_out) == ("a", "cards", False)
    assert not holds(folder, "private")
    assert not holds(folder, "jane_only")
    keep(box, row(request_id="c"))
    assert left(folder) == ["b", "c"]


@pytest.mark.parametrize(
    "selection",
    [
        Selection(request_id="a"),
        Selection(tenant="shop"),
        Selection(caller="app"),
        Selection(task="loans"),
        Selection(before=2.0),
        Selection(tenant="shop", before=2.0),
    ],
    ids=lambda selection: " ".join(name for name in selection.__struct_fields__ if getattr(selection, name)),
)
def test_rows_are_selected_by_whose_they_are(
    outbox: OpenOutbox, folder: Path, row: MakeRow, selection: Selection
) -> None:
    own = row(request_id="a", at=1.0, tenant="shop", caller="app", task="loans")
    keep(outbox(), own, row(request_id="b", at=3.0, tenant="bank", caller="desk"))

    assert [each.request_id for each in find_rows(folder, selection)] == ["a"]
    assert [each.request_id for each in forget(folder, selection)] == ["a"]
    assert left(folder) == ["b"]


def test_nothing_selected_is_not_everything(folder: Path) -> None:
    with pytest.raises(ValueError, match="nothing selects"):
        forget(folder, Selection())


def test_what_was_removed_still_counts_as_come(outbox: OpenOutbox, folder: Path, row: MakeRow) -> None:
    """A task whose oldest rows go every day must not look as if it had stopped growing."""
    keep(outbox(), row(at=1.0), row(at=2.0, is_held_out=True), row(at=NOW), row(at=1.0, is_lesson=False))

    prune(folder, Retention(keep_days=1), NOW)

    reader = HarvestReader(folder)
    assert reader.counts() == {"cards": Count(training=1)}
    assert reader.removed() == {"cards": Count(training=1, held_out=1)}
    assert reader.came() == {"cards": Count(training=2, held_out=1)}


def test_a_file_of_an_older_stepdown_is_read_and_written_on(
    outbox: OpenOutbox, folder: Path, row: MakeRow
) -> None:
    """Its rows lack columns that came later."""
    keep(outbox(), row(request_id="old"))
    with sqlite3.connect(folder / "worker-0.db") as connection:
        connection.execute("DROP INDEX rows_by_expiry")
        for column in ADDED:
            connection.execute(f"ALTER TABLE rows DROP COLUMN {column}")
        connection.execute("DROP TABLE contracts")
        connection.execute("DROP TABLE removals")
    connection.close()

    assert HarvestReader(folder).rows("cards").rows == [row(request_id="old")]
    outbox().close()
    keep(outbox(), row(request_id="new", tools=b"[]"))
    assert left(folder) == ["new", "old"]


def test_a_template_lies_in_a_file_once_and_goes_with_its_last_row(
    outbox: OpenOutbox, folder: Path, row: MakeRow
) -> None:
    """A prompt of 50 KB is not written with each row; SQL and reader see it in each all the same."""
    template = "You sort questions. " * 200
    rows = [row(request_id=f"r{n}", template_text=template, user="jane") for n in range(5)]
    odd = row(request_id="odd", template="odd", template_text="\x1afeed", user="joe")
    keep(outbox(), *rows, odd)
    with sqlite3.connect(folder / "worker-0.db") as connection:
        assert connection.execute("SELECT max(length(template_text)) FROM rows").fetchone()[0] < 100
    connection.close()

    assert HarvestReader(folder).rows("cards", with_messages=False).rows[0].template_text == template
    assert HarvestReader(folder).find("odd") == [odd]
    sql = "SELECT DISTINCT template_text FROM rows ORDER BY length(template_text)"
    assert [text for (text,) in run_query(folder, sql).rows] == ["\x1afeed", template]
    forget(folder, Selection(user="jane"))
    wipe(folder)

    assert left(folder) == ["odd"]
    assert not holds(folder, "You sort questions. You sort")


def test_a_template_that_was_redacted_is_not_the_one_that_was_not(
    outbox: OpenOutbox, folder: Path, row: MakeRow
) -> None:
    """The same fingerprint, before and after a policy asked for redaction."""
    template = "Write to jane@example.org. " * 20
    keep(outbox(), row(request_id="a", template_text=template))
    keep(outbox(), row(request_id="b", template_text=template, private_kinds=("email",)))

    (first,), (second,) = (HarvestReader(folder).find(name) for name in "ab")
    assert first.template_text == template
    assert "jane" not in second.template_text
