"""A review by keys: every decision is kept at once and can be taken back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from gateway.cli.harvest.reviewing import run_dialog
from gateway.harvest.outbox import Outbox
from gateway.processes.reviewing import Item, Review, Ruling
from gateway.routing.base import task_name
from gateway.store.home import Home
from gateway.store.reviews import Verdict
from gateway.wire.chat.request import read_chat
from tests.cli.conftest import Command
from tests.distill.conftest import harvested
from tests.support.builders import incoming

ITEMS = [
    Item(request_id=f"r{n}", task="t", source="suspected", text=f"text {n}", candidates=("a", "b"))
    for n in range(3)
]


class Session(Review):
    """A review that keeps what it is told in a list."""

    def __init__(self) -> None:
        self.told: list[Ruling] = []

    def decide(self, rulings: Sequence[Ruling]) -> list[Verdict]:
        self.told += rulings
        return [
            Verdict(request_id=each.request_id, task="t", kind="accept", text_hash="", answer_hash="")
            for each in rulings
        ]

    def undo(self, given: Verdict | None = None) -> None:
        assert given is not None
        assert self.told.pop().request_id == given.request_id


@pytest.fixture
def session() -> Session:
    return Session()


def keys(typed: str) -> Callable[[], str]:
    """Return a keyboard on which `typed` is typed, and then the terminal is closed."""
    pressed: Iterator[str] = iter(typed)
    return lambda: next(pressed, "")


def test_keys_choose_correct_and_exclude(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    run_dialog(session, ITEMS, keys("2cx"), lambda: " another ")

    assert session.told == [Ruling("r0", "b"), Ruling("r1", "another"), Ruling("r2", exclude=True)]
    printed = capsys.readouterr().out
    assert "verdicts given: 3, left: 0" in printed
    assert "suspected" not in printed, "it would tell whose answer is doubted"


def test_texts_are_broken_between_words_and_tasks_go_by_their_names(
    session: Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = "where is the order 58785 that I made on Monday\n  - an indented line"
    item = Item(
        request_id="r", task="t", source="feedback", text=text, candidates=("b" * 50, "lost card " * 5)
    )

    run_dialog(session, [item], keys("q"), lambda: "", {"t": "sort-tickets"}.__getitem__)

    shown = capsys.readouterr().out
    assert (
        "1 of 1  sort-tickets\n\nwhere is the order 58785 that I made on\nMonday\n  - an indented line\n"
        in shown
    )
    assert (
        f"  1) {'b' * 35}\n     {'b' * 15}\n  2) lost card lost card lost card lost\n     card lost card\n"
        in shown
    )


def test_a_decision_can_be_taken_back_and_made_again(session: Session) -> None:
    run_dialog(session, ITEMS, keys("1u2q"), lambda: "")

    assert session.told == [Ruling("r0", "b")]


@pytest.mark.parametrize("typed", ["", "q", "\x03", "uuq", "9zq", "cq"])
def test_what_says_nothing_decides_nothing(session: Session, typed: str) -> None:
    run_dialog(session, ITEMS, keys(typed), lambda: "")

    assert session.told == []


def test_an_arrow_key_in_an_answer_is_not_learnt(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = iter(["ref\x1b[Dund", "refund"])
    run_dialog(session, ITEMS[:1], keys("cc"), lambda: next(lines))

    assert session.told == [Ruling("r0", "refund")]
    assert "keys that are no letters" in capsys.readouterr().out


def test_a_skipped_answer_is_left_as_it_is(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    run_dialog(session, ITEMS, keys("s1s"), lambda: "")

    assert session.told == [Ruling("r1", "a")]
    assert "verdicts given: 1, left: 0" in capsys.readouterr().out


def test_recorded_conversations_are_imported_and_reviewed_by_hand(command: Command, tmp_path: Path) -> None:
    answers = ["refund"] * 3 + ["card_lost"]
    records = [
        {"messages": [{"role": "user", "content": f"text {n}"}], "answer": answer}
        for n, answer in enumerate(answers)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in [*records, {"messages": 1}]))

    unowned = command("harvest", "import", str(file), "--model", "gpt-4o")
    tried = command("harvest", "import", str(file), "--model", "gpt-4o", "--tenant", "shop", "--dry-run")
    done = command("harvest", "import", str(file), "--model", "gpt-4o", "--tenant", "shop")

    assert (unowned.returncode, "--key NAME, or --tenant NAME" in unowned.stderr) == (2, True)
    assert tried.stdout.startswith("5 records: 4 would be imported, 0 copies, 1 failed\n")
    assert done.stdout.startswith("5 records: 4 imported, 0 copies, 1 failed\n")
    assert "rows.jsonl:5: no `messages`" in done.stdout
    file.write_text(json.dumps({"messages": 1}) + "\n" + '{"messages": []}\n' * 6)
    failed = command("harvest", "import", str(file), "--model", "gpt-4o", "--tenant", "shop")
    assert failed.stdout.count("no `messages`") == 1
    assert "rows.jsonl:1, 2, 3, 4, 5 and 2 more: no `messages`" in failed.stdout
    assert "4 for training" in command("harvest", "stats").stdout
    assert "nothing to review" in command("harvest", "review").stdout


def test_records_belong_to_the_task_of_a_request_that_spells_its_tools_in_its_own_way(
    command: Command, tmp_path: Path
) -> None:
    """Logs of other tools hold the same tools in other bytes, or none at all."""
    tools = '[ {"type": "function", "function": {"name": "f", "description": "caf\\u00e9"}} ]'
    messages = '[{"role": "system", "content": "Sort."}, {"role": "user", "content": "an example"}]'
    body = f'{{"model": "gpt-4o", "messages": {messages}, "tools": {tools}}}'
    (tmp_path / "like.json").write_text(body)
    records = [
        {"messages": [{"role": "user", "content": text}], "answer": "refund", **more}
        for text, more in (("one", {}), ("two", {"tools": json.loads(tools)}))
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))

    done = command("harvest", "import", "rows.jsonl", "--like", "like.json", "--tenant", "shop", "--json")

    task = task_name(read_chat(incoming(body=body.encode())).template, "tenant:shop")
    assert json.loads(done.stdout)["tasks"] == {task: 2}


def test_an_annotation_with_private_data_is_not_learnt_and_the_command_says_so(
    command: Command, home: Path, tmp_path: Path
) -> None:
    row = msgspec.structs.replace(harvested("a text", "wrong"), private_kinds=("email",))
    box = Outbox(Home(home).worker_rows(0))
    box.put(row)
    box.close()
    result = {"type": "textarea", "value": {"text": ["write to jane@example.org"]}}
    task = {"data": {"request_id": row.request_id}, "annotations": [{"result": [result]}]}
    file = tmp_path / "annotated.json"
    file.write_text(json.dumps([task]))

    said = command("harvest", "review", "--apply", str(file)).stdout

    assert f"excluded: the answer to {row.request_id} holds private data, so it is not learnt\n" in said
    assert "0 accept, 0 correct, 1 exclude" in said
    assert "jane" not in command("harvest", "show", row.request_id).stdout
