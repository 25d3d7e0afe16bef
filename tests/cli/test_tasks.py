"""What `stepdown tasks` shows and changes."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from gateway.core import Certification, Footprint, RiskTarget
from gateway.demo.teacher.faults import Fault
from gateway.harvest.outbox import Outbox
from gateway.registry.models import Registry
from gateway.specialists.runtimes.scripted import Script
from gateway.store.decision_record import DecisionRecord
from gateway.store.home import Home
from gateway.store.ledger_row import LedgerRow
from gateway.store.state import State, open_state
from gateway.wire.template import compute_fingerprints
from tests.cli.conftest import Command
from tests.distill.conftest import harvested
from tests.specialists.hosting import publish_script
from tests.support.builders import NOON, certificate, certified
from tests.support.teacher import RunningTeacher

TEMPLATE = "Classify the customer's support ticket by queue. " * 9
NAME = "classify-customer-support-ticket"
TASK = "task-0123456789ab"


def adopt(state: State, task: str = TASK, scope: str = "tenant:shop") -> None:
    state.tasks.put(task, scope=scope, contract_hash="", template_text=TEMPLATE, vector=b"", model="gpt-4o")


def lines_of(command: Command, *words: str) -> list[str]:
    ended = command("tasks", *words)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


def test_a_list_without_tasks_says_what_is_missing(command: Command) -> None:
    assert lines_of(command, "list") == ["no task yet: send traffic through `stepdown serve`"]


def test_a_task_that_is_certified_for_another_policy_is_not_called_serving(
    command: Command, home: Path
) -> None:
    """The default policy asks for 2 %."""
    with open_state(Home(home)) as state:
        adopt(state)
        state.certifications.put(certified(TASK, target=RiskTarget(0.05), expires_at=1e11))

    [row] = json.loads(command("tasks", "list", "--json").stdout)
    # No version is in the registry: that is what hides it first.
    assert (row["name"], row["stage"], row["is_serving"]) == (NAME, "live", False)
    assert "cannot be read" in row["because"]
    printed = lines_of(command, "list")
    assert printed[0].split()[:3] == [NAME, "live", "v1"]
    assert max(map(len, printed)) <= 80


SLOW = Footprint(p50_ms=40.0, p99_ms=80.0, cpu_ms=40.0, load_ms=5.0, memory_mb=300.0)


TOO_SLOW = "specialist too slow: it takes 80.0 ms and 300 MB, a policy allows 50 ms"


@pytest.mark.parametrize(
    ("limits_ms", "said"),
    [([50], [False, TOO_SLOW]), ([500, 50], [True, TOO_SLOW]), ([500], [True, ""])],
)
def test_a_task_whose_version_takes_too_much_is_not_called_serving(
    command: Command, home: Path, tmp_path: Path, limits_ms: list[int], said: list[object]
) -> None:
    """A limit that is lowered while it serves ends its service at the next start."""
    publish_script(Registry(Home(home).registry), tmp_path / "scratch", Script(), task=TASK)
    with open_state(Home(home)) as state:
        adopt(state)
        strict = certified(TASK, target=RiskTarget(0.01))
        state.certifications.put(msgspec.structs.replace(strict, footprint=SLOW))
    policies = [f"\n- {{name: a{ms}, callers: [a{ms}], max_latency_ms: {ms}}}" for ms in limits_ms]
    (tmp_path / "apps.yaml").write_text("policies:" + "".join(policies))

    listed = command("tasks", "list", "--json", STEPDOWN_POLICIES_FOLDER=str(tmp_path))

    [row] = json.loads(listed.stdout)
    assert [row["is_serving"], row["because"]] == said


def test_a_certificate_on_imported_rows_is_called_that(command: Command, home: Path) -> None:
    target = RiskTarget(evidence="imported")
    waiting = certificate(target=target.confirmed, stage="shadow", threshold=None, note="45 more audits")
    with open_state(Home(home)) as state:
        adopt(state)
        certificates = (certificate(target=target, expires_at=1e11), waiting)
        state.certifications.put(Certification(task=TASK, version=1, certificates=certificates))

    text = " ".join(" ".join(lines_of(command, "show", NAME)).split())

    assert "on imported rows, with probability 90%" in text
    assert "imported rows of 1970-01-01 to 1970-01-01" in text
    assert "certified on imported rows, not yet confirmed live" in text


def test_a_task_is_explained_in_plain_words(command: Command, home: Path) -> None:
    shadow = certificate(
        stage="shadow",
        threshold=None,
        audits=120,
        audits_missing=80,
        evidence_from=NOON - 86_400,
        evidence_to=NOON,
        note="a certificate needs about 80 more audits",
    )
    with open_state(Home(home)) as state:
        adopt(state)
        one = certified(TASK)
        state.certifications.put(type(one)(task=TASK, version=None, certificates=(shadow,)))

    text = "\n".join(lines_of(command, "show", NAME))

    assert "the teacher answers all requests: no specialist yet" in text
    assert "at most 2.0% disagree with the" in text
    assert "a certificate needs about 80 more audits" in " ".join(text.split())
    assert "80 audits are missing, and none came in the last day" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_a_rename_is_kept_and_the_id_still_finds_it(command: Command, home: Path) -> None:
    with open_state(Home(home)) as state:
        adopt(state)

    lines_of(command, "rename", NAME, "intents")

    assert lines_of(command, "list")[0].startswith("intents ")
    assert f"intents ({TASK}) of tenant:shop" in lines_of(command, "show", TASK)[0]


def test_a_name_of_two_owners_must_be_told_apart(command: Command, home: Path) -> None:
    with open_state(Home(home)) as state:
        adopt(state)
        adopt(state, "task-ba9876543210", "tenant:other")

    ended = command("tasks", "show", NAME)

    assert ended.returncode == 2
    assert f"tenant:other/{NAME}, tenant:shop/{NAME}" in ended.stderr
    assert lines_of(command, "show", f"tenant:other/{NAME}")


def test_a_freeze_is_shown_with_its_reason_until_it_ends(command: Command, home: Path) -> None:
    with open_state(Home(home)) as state:
        adopt(state)

    lines_of(command, "freeze", NAME, "--note", "audit of the labels")

    assert "FROZEN since" in "\n".join(lines_of(command, "show", NAME))
    assert lines_of(command, "list")[0].split()[1] == "frozen"
    lines_of(command, "unfreeze", NAME)
    assert lines_of(command, "list")[0].split()[1] == "shadow"


def test_a_freeze_of_all_heads_the_list_and_is_ended_as_a_whole(command: Command, home: Path) -> None:
    with open_state(Home(home)) as state:
        adopt(state)
    lines_of(command, "freeze", "--all", "--note", "incident 7")

    assert lines_of(command, "list")[0].startswith("ALL TASKS ARE FROZEN since")
    ended = command("tasks", "unfreeze", NAME)
    assert (ended.returncode, "not frozen by itself: `stepdown tasks unfreeze --all`" in ended.stderr) == (
        1,
        True,
    )
    assert json.loads(command("tasks", "unfreeze", "--all", "--json").stdout) == {
        "task": None,
        "is_frozen": False,
    }


def test_an_alarm_is_pending_until_it_is_acknowledged(command: Command, home: Path) -> None:
    with open_state(Home(home)) as state:
        adopt(state)
        one = certified(TASK, stage="alarm", threshold=None)
        state.certifications.put(type(one)(task=TASK, epoch=2, version=1, certificates=one.certificates))

    assert "    alarm 2 is not acknowledged" in lines_of(command, "list")
    assert lines_of(command, "ack", "--all", "--note", "new labels") == [f"acknowledged: {NAME}, alarm 2"]
    assert "alarm 2 is not" not in "\n".join(lines_of(command, "list"))
    assert lines_of(command, "ack", NAME) == ["no alarm that was not acknowledged"]


@pytest.mark.parametrize("words", [["freeze"], ["freeze", "x", "--all"]])
def test_a_freeze_names_one_task_or_all(command: Command, words: list[str]) -> None:
    assert command("tasks", *words).returncode == 2


def test_an_unknown_task_is_refused(command: Command) -> None:
    ended = command("tasks", "show", "nothing")

    assert (ended.returncode, "no task has the id or name 'nothing'" in ended.stderr) == (2, True)


def test_other_commands_take_a_task_by_its_name(command: Command, home: Path) -> None:
    """They took ids alone, and said of a name that there was nothing."""
    record = DecisionRecord(
        row=LedgerRow(
            1.0, "a" * 32, "t", "k", "p", TASK, "local", "/v1/chat/completions", "m", "m", "",
            9, 2, 0, 0, "", 0.0, 0.5, 0.0, 0.0, "reported", "listed",
        ),
        status=200,
        reason="certified",
    )  # fmt: skip
    with open_state(Home(home)) as state:
        adopt(state)
        state.decisions.put(record)
        state.trail.add("cli:me", "tasks freeze", TASK)
    box = Outbox(Home(home).worker_rows(0))
    box.put(msgspec.structs.replace(harvested("a text", "an answer", at=5.0, held_out=False), task=TASK))
    box.close()

    assert command("why", "--task", NAME).stdout.startswith("a" * 32)
    assert command("why", "--task", TASK).stdout.startswith("a" * 32)
    assert "cli:me: tasks freeze" in command("audit", "list", "--about", NAME).stdout
    forgotten = json.loads(command("harvest", "forget", "--task", NAME, "--json").stdout)
    assert forgotten["rows"] == 1
    for words in (
        ("why", "--task", "nothing"),
        ("sample", "list", "--task", "nothing"),
        ("harvest", "tail", "--task", "nothing"),
        ("harvest", "forget", "--task", "nothing"),
    ):
        ended = command(*words)
        assert (ended.returncode, "no task has the id or name 'nothing'" in ended.stderr) == (2, True)


def test_an_id_that_is_not_adopted_is_still_looked_for(command: Command) -> None:
    ended = command("why", "--task", "task-aaaaaaaaaaaa")

    assert (ended.returncode, ended.stdout) == (0, "no decision to show\n")


def test_a_second_move_to_another_model_asks_nothing_and_says_so(
    command: Command, home: Path, teacher: RunningTeacher
) -> None:
    keys = {"OPENAI_BASE_URL": teacher.base_url, "OPENAI_API_KEY": "sk-teacher"}
    words = ("tasks", "migrate", "task-1", "--to", "gpt-4.1-mini", "--budget", "$1")
    box = Outbox(Home(home).worker_rows(0))
    for text in ("ping", "unknown to it"):
        row = harvested(text, "pong", at=NOON)
        messages = json.dumps([{"role": "user", "content": text}]).encode()
        template, _ = compute_fingerprints(b"gpt-4o", "", b"", b"", b"")
        changes = {"template": template, "template_text": "", "caller": "app", "tenant": "shop"}
        box.put(msgspec.structs.replace(row, messages=messages, **changes))
    box.close()

    broke = command("tasks", "migrate", "task-1", "--to", "gpt-4.1-mini", "--budget", "0.0000001", **keys)
    first, second = command(*words, "--rows", "1", **keys), command(*words, **keys)
    third = command(*words, **keys).stdout.splitlines()

    assert (broke.returncode, "2 not asked: the budget does not reach" in broke.stdout) == (1, True)
    assert "1 asked for $0.0" in first.stdout
    assert "the sample is 1 of 2 texts: --rows takes more" in first.stdout
    assert ", 1 answered before, 0 failed" in second.stdout
    assert third[:2] == [
        "0 asked for $0.0000, 2 answered before, 0 failed",
        "nothing is left to ask: gpt-4.1-mini has answered the whole sample before",
    ]
    assert max(map(len, third)) <= 80
    assert "argument --budget: 'x' is no number" in command(*words[:-1], "x").stderr


def test_a_move_says_which_answers_taught_nothing_and_how_to_ask_once_more(
    command: Command, home: Path, teacher: RunningTeacher
) -> None:
    keys = {"OPENAI_BASE_URL": teacher.base_url, "OPENAI_API_KEY": "sk-teacher"}
    words = ("tasks", "migrate", "task-1", "--to", "gpt-4.1-mini", "--budget", "$1")
    template, _ = compute_fingerprints(b"gpt-4o", "", b"", b"", b"")
    row = msgspec.structs.replace(
        harvested("ping", "pong", at=NOON), template=template, template_text="", caller="app", tenant="shop",
        messages=b'[{"role":"user","content":"ping"}]',
    )  # fmt: skip
    box = Outbox(Home(home).worker_rows(0))
    box.put(row)
    box.close()
    choice = {"message": {"role": "assistant", "content": "po"}, "finish_reason": "length"}
    teacher.control.fail_next(Fault(status=200, body=json.dumps({"choices": [choice]}).encode()))

    first, second = (command(*words, **keys).stdout.splitlines() for _ in range(2))
    again = command(*words, "--again", **keys).stdout.splitlines()

    assert first[0].startswith("1 asked for $0.0")
    assert first[1] == "1 answer teaches nothing (refused, cut, or private): --again asks once more"
    assert second[0] == "0 asked for $0.0000, 1 answered before, 0 failed"
    assert again[0].startswith("1 asked for $0.0")
    assert again[1].startswith("gpt-4.1-mini agrees with the old teacher in 100.0%")
