"""`stepdown harvest`: rows by the names and in the width that people use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.distill.verdicts import verdict_on
from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.processes.forgetting import FORGET_FEEDBACK
from gateway.store.decision_record import DecisionRecord
from gateway.store.home import Home
from gateway.store.ledger_row import LedgerRow
from gateway.store.reviews import Feedback
from gateway.store.state import open_state
from tests.cli.conftest import Command

TASK = "task-0123456789ab"


@pytest.fixture(autouse=True)
def harvested(home: Path) -> None:
    """Rows of a task that is adopted, and so has a name, and of one that is not."""
    with open_state(Home(home)) as state:
        state.tasks.put(
            TASK, scope="all", contract_hash="", template_text="Sort tickets.", vector=b"", model="gpt-4o"
        )
        assert state.tasks.names.of(TASK) == "sort-tickets"
    box = Outbox(Home(home).harvest / "worker-0.db")
    for number, task in enumerate((TASK, TASK, "task-ba9876543210")):
        assert box.put(row_of(task, number))
    box.close()


def row_of(task: str, number: int) -> Row:
    text = f"question {number} " + "of somebody who writes a lot " * 5
    return Row(
        request_id=f"{number:032x}", at=float(number), task=task, match="fingerprint", model="gpt-4o",
        template="t", template_text="Sort tickets.", contract_hash="", text=text, answer="an answer " * 20,
        messages=json.dumps([{"role": "user", "content": text}]).encode(), is_held_out=False, propensity=0.1,
    )  # fmt: skip


@pytest.mark.parametrize("named", [TASK, "sort-tickets", "all/sort-tickets"])
def test_an_export_takes_a_task_by_its_name(command: Command, named: str) -> None:
    ended = command("harvest", "export", "--task", named, "--format", "openai")

    assert len(ended.stdout.splitlines()) == 2, ended.stderr


def test_a_task_that_has_no_name_yet_is_exported_by_its_id(command: Command) -> None:
    ended = command("harvest", "export", "--task", "task-ba9876543210", "--task", "sort-tickets")

    assert len(ended.stdout.splitlines()) == 3, ended.stderr


def test_an_export_of_an_unknown_task_says_where_names_are(command: Command) -> None:
    ended = command("harvest", "export", "--task", "tickets")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no task has the id or name 'tickets'; see `stepdown tasks list`" in ended.stderr


def test_a_data_set_of_then_knows_no_verdict_of_later(command: Command, home: Path, tmp_path: Path) -> None:
    """It is byte for byte what was exported then, whatever reviewers have said since."""

    def export(name: str, *options: str) -> dict[str, bytes]:
        command("harvest", "export", "--format", "openai", "--dataset", str(tmp_path / name), *options)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    with open_state(Home(home)) as state:
        state.reviews.put([replace(verdict_on(row_of(TASK, 0), "quite another"), at=60.0)])
        corrected = export("then")
        state.reviews.put([replace(verdict_on(row_of(TASK, 0), None), at=120.0)])

    assert b"quite another" in b"".join(corrected.values())
    assert export("again", "--as-of", "1970-01-01T00:01:00Z") == corrected
    assert b"quite another" not in b"".join(export("now").values())


@pytest.mark.parametrize(("columns", "lines"), [("80", 6), ("200", 3)])
def test_the_newest_rows_fit_the_terminal(command: Command, columns: str, lines: int) -> None:
    shown = command("harvest", "tail", COLUMNS=columns).stdout.splitlines()

    assert len(shown) == lines
    assert max(map(len, shown)) <= int(columns)
    assert f"{1:032x}" in "".join(shown)
    assert "question 1" in "".join(shown)


def test_the_newest_rows_of_a_task_are_shown_however_old_they_are(command: Command) -> None:
    """The newest row of all is another task's."""
    shown = command("harvest", "tail", "-n", "2", "--task", "sort-tickets", "--json").stdout.splitlines()

    assert [json.loads(line)["at"] for line in shown] == [0.0, 1.0]


def test_an_export_says_which_rows_a_format_cannot_hold(command: Command, tmp_path: Path) -> None:
    ended = command("harvest", "export", "--format", "trl_dpo", "--out", "pairs.jsonl")
    command("harvest", "export", "--format", "trl_dpo", "--dataset", "pairs")

    why = "without a draft that differs from the answer"
    assert ended.stderr == f"0 rows; 3 {why} stay\n"
    assert f" rows were left out: those {why}." in (tmp_path / "pairs" / "README.md").read_text()


def test_the_parts_of_a_task_are_listed_by_its_name(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    where = {"STEPDOWN_HARVEST_PARTS": str(tmp_path / "parts"), "STEPDOWN_HARVEST_KEEP_DAYS": "36500"}
    assert command("harvest", "ship", **where).stdout.startswith("3 rows moved")

    listed = command("harvest", "parts", "--task", "sort-tickets", **where).stdout.splitlines()
    unknown = command("harvest", "parts", "--task", "nothing", **where)

    assert len(listed) == 1
    assert f"task={TASK}" in listed[0]
    assert len(command("harvest", "parts", **where).stdout.splitlines()) == 2
    assert (unknown.returncode, "no task has the id or name" in unknown.stderr) == (2, True)


def test_the_columns_are_listed_without_a_query(command: Command) -> None:
    listed = command("harvest", "query")

    assert "request_id, at, task" in listed.stdout
    assert max(map(len, listed.stdout.splitlines())) <= 80
    assert "template_text" in json.loads(command("harvest", "query", "--json").stdout)


def test_a_wrong_column_is_one_short_line_with_the_one_that_was_meant(command: Command) -> None:
    ended = command("harvest", "query", "SELECT templte FROM rows")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("stepdown: no such column: templte (did you mean 'template'?); ")
    assert len(ended.stderr) < 160


def test_a_result_that_is_wider_than_the_terminal_has_a_line_per_field(command: Command) -> None:
    shown = command("harvest", "query", "SELECT * FROM rows ORDER BY at", COLUMNS="80").stdout.splitlines()

    assert max(map(len, shown)) <= 80
    assert shown[0].split() == ["request_id", "0" * 32]
    assert sum(line.startswith("request_id") for line in shown) == 3
    assert "expires_at" in shown
    assert "None" not in " ".join(shown)


def test_the_texts_of_a_result_are_cut_to_the_terminal_and_ids_are_not(command: Command) -> None:
    sql = "SELECT request_id, text, is_held_out FROM rows ORDER BY at"
    narrow = command("harvest", "query", sql, COLUMNS="80").stdout.splitlines()
    piped = command("harvest", "query", sql, COLUMNS="0").stdout.splitlines()

    assert (len(narrow), max(map(len, narrow))) == (4, 80)
    assert narrow[2].startswith(f"{1:032x}  question 1 of ")
    assert len(piped[2]) > 80


def test_a_result_says_that_there_is_more_of_it(command: Command) -> None:
    cut = command("harvest", "query", "SELECT at FROM rows", "--limit", "2")
    whole = command("harvest", "query", "SELECT at FROM rows", "--limit", "3")

    assert (len(cut.stdout.splitlines()), len(whole.stdout.splitlines())) == (3, 4)
    assert cut.stderr == "there are more than 2 rows: --limit shows others\n"
    assert whole.stderr == ""


def test_a_request_without_a_row_is_explained_by_its_decision(command: Command, home: Path) -> None:
    kinds = ("local", "escalated")
    with open_state(Home(home)) as state:
        for kind in kinds:
            state.decisions.put(decided(kind))

    local, escalated = (command("harvest", "show", decided(kind).row.request_id) for kind in kinds)
    with open_state(Home(home)) as state:
        request_id = decided("local").row.request_id
        state.reviews.put_feedback(
            Feedback(request_id=request_id, tenant="t", caller="k", rating="down", at=1.0)
        )
        state.reviews.flush()
    complained = command("harvest", "show", request_id)
    unknown = command("harvest", "show", "f" * 32)

    assert "a specialist answered it" in local.stderr
    for ended, kind in ((local, "local"), (escalated, "escalated")):
        request_id = decided(kind).row.request_id
        assert (ended.returncode, ended.stdout) == (1, "")
        assert f"`stepdown why {request_id}` explains it" in ended.stderr
        assert command("why", request_id).returncode == 0
    assert (unknown.returncode, "why" in unknown.stderr) == (1, False)
    assert (complained.returncode, complained.stderr) == (0, local.stderr)
    assert json.loads(complained.stdout)["feedback"][0]["rating"] == "down"
    assert json.loads(command("harvest", "show", f"{1:032x}").stdout)["rows"][0]["at"] == 1.0


def decided(decision: str) -> DecisionRecord:
    row = LedgerRow(
        1.0, f"{len(decision):032x}"[::-1], "t", "k", "p", TASK, decision, "/v1/chat/completions", "m", "m",
        "", 9, 2, 0, 0, "", 0.0, 0.5, 0.0, 0.0, "reported", "listed",
    )  # fmt: skip
    return DecisionRecord(row=row, status=200, reason="certified")


def test_sums_are_shown_by_the_names_of_tasks(command: Command) -> None:
    lines = command("harvest", "stats").stdout.splitlines()

    assert [line.split()[0] for line in lines[1:]] == ["sort-tickets", "task-ba9876543210"]
    assert set(json.loads(command("harvest", "stats", "--json").stdout)["tasks"]) == {
        TASK,
        "task-ba9876543210",
    }


def test_forgetting_a_user_says_what_is_left_to_do(command: Command, home: Path) -> None:
    """It stood first among the holders of copies, where a reader expects what nobody here can delete."""
    with open_state(Home(home)) as state:
        state.reviews.put_feedback(Feedback(request_id="r", tenant="shop", caller="app", rating="down"))
        state.reviews.flush()

    said = command("harvest", "forget", "--user", "jane").stdout.splitlines()

    assert said[-1] == f"you must still: {FORGET_FEEDBACK}"
    assert not any("feedback" in line for line in said[:-1])


def test_tasks_of_one_name_are_told_apart_by_their_owners(command: Command, home: Path) -> None:
    """Two tenants that send the same template have a task of the same name each."""
    with open_state(Home(home)) as state:
        state.tasks.put(
            "task-ba9876543210",
            scope="tenant:bob",
            contract_hash="",
            template_text="Sort tickets.",
            vector=b"",
            model="gpt-4o",
        )

    lines = command("harvest", "stats").stdout.splitlines()

    assert [line.split()[0] for line in lines[1:] if not line.startswith(" ")] == [
        "all/sort-tickets",
        "tenant:bob/sort-tickets",
    ]
