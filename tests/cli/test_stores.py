"""harvest, learn and costs, after traffic through a real gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from gateway.harvest.outbox import Outbox
from gateway.store.home import Home
from tests.distill.conftest import harvested
from tests.flow.traffic import QUICK, Task, quick_policies
from tests.support.processes import gateway_process, stepdown
from tests.support.teacher import RunningTeacher
from tests.support.waiting import wait_for

REQUESTS = 150


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, teacher: RunningTeacher) -> tuple[Path, str]:
    """A home with harvest and no learner so far, and its policies."""
    root = tmp_path_factory.mktemp("stores")
    home, policies = root / "home", quick_policies(root / "policies")
    with gateway_process(
        home,
        "--open",
        OPENAI_BASE_URL=teacher.base_url,
        OPENAI_API_KEY="sk-teacher",
        STEPDOWN_POLICIES_FOLDER=policies,
        STEPDOWN_LEARN_ENABLED="false",
    ) as gateway:
        task = Task(gateway, teacher, "Sort the ticket.")
        asyncio.run(task.ask(task.questions(REQUESTS)))
        wait_for(lambda: counted(home) == REQUESTS, "the harvest is not written")
    return home, policies


def counted(home: Path) -> int:
    tasks = stats(home)["tasks"].values()
    return sum(count["training"] + count["held_out"] for count in tasks)


def stats(home: Path) -> dict[str, dict[str, dict[str, int]]]:
    return dict(json.loads(stepdown(home, "harvest", "stats", "--json").stdout))


def test_stats_name_the_task_and_its_rows(served: tuple[Path, str]) -> None:
    (task,) = stats(served[0])["tasks"]

    assert task in stepdown(served[0], "harvest", "stats").stdout


def test_an_export_holds_what_was_asked_and_answered(served: tuple[Path, str]) -> None:
    (count,) = stats(served[0])["tasks"].values()

    ended = stepdown(served[0], "harvest", "export", "--format", "openai")

    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    held_out = f"{count['held_out']:,} held out as evidence stay (--with-audits)"
    assert ended.stderr == f"{count['training']:,} rows; {held_out}\n"
    assert len(rows) == count["training"]
    assert [message["role"] for message in rows[0]["messages"]] == ["system", "user", "assistant"]


def test_an_export_into_a_file_can_hold_the_evidence_too(served: tuple[Path, str], tmp_path: Path) -> None:
    target = tmp_path / "rows.jsonl"

    ended = stepdown(served[0], "harvest", "export", "--with-audits", "--out", str(target))

    assert (ended.returncode, ended.stdout) == (0, "")
    assert len(target.read_text().splitlines()) == REQUESTS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "opnai"], "unknown format 'opnai'; known: classification, "),
        (["--task", "none"], "no task has the id or name 'none'; see `stepdown tasks list`"),
    ],
    ids=["format", "task"],
)
def test_an_export_of_what_is_not_there_names_what_is(
    served: tuple[Path, str], words: list[str], message: str
) -> None:
    ended = stepdown(served[0], "harvest", "export", *words)

    assert ended.returncode == 2
    assert message in ended.stderr


def test_an_export_into_a_missing_folder_fails_without_a_trace(served: tuple[Path, str]) -> None:
    ended = stepdown(served[0], "harvest", "export", "--out", str(served[0] / "no" / "rows.jsonl"))

    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_learning_by_hand_ends_with_a_standing(served: tuple[Path, str]) -> None:
    """Twice: the second time there is nothing new."""
    home, policies = served
    settings = {**QUICK, "STEPDOWN_POLICIES_FOLDER": policies}

    first = stepdown(home, "learn", "run", **settings)
    status = stepdown(home, "learn", "status")
    (standing,) = json.loads(stepdown(home, "learn", "status", "--json").stdout)

    assert (first.returncode, first.stderr) == (0, "")
    assert "adopted" in first.stdout
    assert standing["version"] == 1
    assert standing["task"] in status.stdout
    assert "Sort the ticket." in status.stdout


def test_a_report_counts_every_request_and_what_it_cost(served: tuple[Path, str]) -> None:
    report = json.loads(stepdown(served[0], "costs", "report", "--json").stdout)

    assert report["total"]["requests"] == REQUESTS
    assert report["total"]["usd"] == pytest.approx(report["total"]["counterfactual_usd"])
    assert report["total"]["usd"] > 0
    assert sum(entry["requests"] for entry in report["entries"]) == REQUESTS


@pytest.mark.parametrize("since", ["2999-01-01", "yesterday", "2030"])
def test_a_report_since_no_time_in_the_past_is_refused(served: tuple[Path, str], since: str) -> None:
    refused = stepdown(served[0], "costs", "report", "--since", since)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert since in refused.stderr


@pytest.mark.parametrize("since", ["24h", "7d", "2026-01-01"])
@pytest.mark.parametrize("by", ["policy", "model", "key", "tenant", "task", "day"])
def test_a_report_fits_eighty_columns_and_says_the_same_of_any_period(
    served: tuple[Path, str], by: str, since: str
) -> None:
    """Hours are added up from single requests, days from the sums of the day."""
    lines = stepdown(served[0], "costs", "report", "--by", by, "--since", since).stdout.splitlines()

    assert max(map(len, lines)) <= 80
    assert any(line.split()[:2] == ["total", str(REQUESTS)] for line in lines)


def test_the_costs_are_exported_for_finance(served: tuple[Path, str], tmp_path: Path) -> None:
    stepdown(served[0], "costs", "report", "--focus", str(tmp_path / "focus.csv"))
    digest = stepdown(served[0], "costs", "report", "--digest").stdout

    assert (tmp_path / "focus.csv").read_text().count("\n") >= 2
    assert digest.startswith("# Costs from ")


def test_costs_that_cannot_be_written_are_refused_in_one_line(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    refused = stepdown(served[0], "costs", "report", "--focus", str(tmp_path / "missing" / "focus.csv"))

    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "--focus" in refused.stderr


def test_the_report_for_people_ends_with_the_sums(served: tuple[Path, str]) -> None:
    report = stepdown(served[0], "costs", "report").stdout

    assert "spent $" in report
    assert "saved $0.0000" in report


def test_a_data_set_is_made_once_and_never_of_evidence(served: tuple[Path, str], tmp_path: Path) -> None:
    (count,) = stats(served[0])["tasks"].values()
    folder = str(tmp_path / "set")

    ended = stepdown(served[0], "harvest", "export", "--dataset", folder)
    again = stepdown(served[0], "harvest", "export", "--dataset", folder)
    with_audits = stepdown(served[0], "harvest", "export", "--dataset", f"{folder}-2", "--with-audits")

    assert ended.returncode == 0
    assert {path.name for path in Path(folder).iterdir()} == {
        "README.md", "SHA256SUMS", "lineage.jsonl", "train.jsonl", "validation.jsonl",
    }  # fmt: skip
    assert len((Path(folder) / "lineage.jsonl").read_text().splitlines()) <= count["training"]
    assert (again.returncode, with_audits.returncode) == (2, 2)
    assert "never written over another" in again.stderr
    assert "never hold evidence" in with_audits.stderr


def test_an_export_is_its_owners_alone(served: tuple[Path, str], tmp_path: Path) -> None:
    """It holds prompts."""
    target = tmp_path / "rows.jsonl"

    stepdown(served[0], "harvest", "export", "--out", str(target))

    assert target.stat().st_mode & 0o077 == 0


def test_rows_of_a_teacher_with_restrictions_are_exported_once_its_terms_are_accepted(
    tmp_path: Path,
) -> None:
    home, target = tmp_path / "home", tmp_path / "rows.jsonl"
    box = Outbox(Home(home).worker_rows(0))
    for is_restricted in (False, True):
        box.put(msgspec.structs.replace(harvested("a text", "an answer"), is_restricted=is_restricted))
    box.close()

    refused = stepdown(home, "harvest", "export", "--out", str(target))
    accepted = stepdown(home, "harvest", "export", "--accept-terms", "--out", str(target))

    assert refused.returncode == 2
    assert "--accept-terms" in refused.stderr
    assert accepted.stderr.startswith("2 rows")
