"""`imported: serve`: what imported rows taught answers at once, for those whose policy says so."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.core import NOT_CONFIRMED
from gateway.demo.tickets import generate_tickets
from gateway.harvest.reader import HarvestReader
from gateway.store.home import Home
from tests.flow.conftest import TEACHER_KEY
from tests.flow.traffic import LABELS, QUICK, Reply, Task
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import RunningTeacher
from tests.support.waiting import wait_for

POLICIES = """
policies:
  - name: trusting
    callers: [trusting]
    alpha: 0.05
    imported: serve
  - name: careful
    alpha: 0.05
"""
PROMPT = "Sort the ticket. Answer with one label."
IMPORTED = 1_500
MOST_AUDITS = 60
"""From the first local answer to the alarm."""


class Shop:
    """One tenant with two keys, of which one has a policy that trusts what was imported."""

    def __init__(self, home: Path, teacher: RunningTeacher) -> None:
        self.home = home
        self._teacher = teacher
        self._policies = home.with_name(f"{home.name}-policies")
        self._policies.mkdir()
        (self._policies / "default.yaml").write_text(POLICIES)
        self._settings = {
            "OPENAI_BASE_URL": teacher.base_url,
            "OPENAI_API_KEY": TEACHER_KEY,
            "STEPDOWN_POLICIES_FOLDER": str(self._policies),
        }
        self.keys = {name: self._make_key(name) for name in ("trusting", "careful")}

    def do(self, *words: str) -> str:
        """Run a command and return what it printed."""
        ended = stepdown(self.home, *words, **self._settings)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def import_tickets(self, scratch: Path) -> None:
        """Import what the teacher is said to have answered, for the trusting key."""
        tickets = (pair for pair in generate_tickets(100_000, 7) if pair.answer in LABELS)
        lines = [
            {
                "messages": [
                    {"role": "system", "content": PROMPT},
                    {"role": "user", "content": ticket.text},
                    {"role": "assistant", "content": ticket.answer},
                ],
                "model": "gpt-4o",
            }
            for ticket in itertools.islice(tickets, IMPORTED)
        ]
        path = scratch / "logs.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        said = json.loads(self.do("harvest", "import", str(path), "--key", "trusting", "--json"))
        assert said["held_out"] > IMPORTED / 8

    @contextmanager
    def serve(self) -> Iterator[Task]:
        with gateway_process(self.home, **self._settings, **QUICK) as gateway:
            yield Task(gateway, self._teacher, PROMPT, seed=3)

    def ask(self, task: Task, name: str, questions: dict[str, str]) -> list[Reply]:
        """Ask one after the other with the key of `name`."""
        headers = {"authorization": f"Bearer {self.keys[name]}"}
        return asyncio.run(task.ask(questions, in_flight=1, headers=headers))

    def find_local(self, task: Task) -> str:
        """Return a question that the specialist answers, once the host has loaded it.

        The same few are asked again, so that they are few audits, whatever that takes.
        """
        questions = task.questions(20)

        def find() -> str | None:
            replies = self.ask(task, "trusting", questions)
            return next((reply.question for reply in replies if reply.decision == "local"), None)

        return wait_for(find, "nothing is answered locally")

    def count_audits(self) -> int:
        with sqlite3.connect(Home(self.home).state_db) as connection:
            (count,) = connection.execute("SELECT count(*) FROM audits").fetchone()
        return int(count)

    def _make_key(self, name: str) -> str:
        return self.do("keys", "create", "--name", name, "--tenant", "shop").strip()


def standing(gateway: RunningGateway) -> dict[str, Any]:
    tasks = gateway.status()["tasks"]
    return dict(tasks[0]) if tasks else {}


def wait_until(gateway: RunningGateway, stage: str) -> None:
    wait_for(lambda: standing(gateway).get("stage") == stage, f"not {stage}: {standing(gateway)}")


def list_decisions(replies: list[Reply]) -> set[str]:
    return {reply.decision for reply in replies}


@pytest.fixture
def shop(tmp_path: Path, running: RunningTeacher) -> Shop:
    shop = Shop(tmp_path / "home", running)
    shop.import_tickets(tmp_path)
    return shop


def test_it_answers_at_once_for_the_policy_that_says_so(shop: Shop) -> None:
    """Before any audit, honest in every report; it outlives a restart and ends with what it stood on."""
    with shop.serve() as task:
        wait_until(task.gateway, "live")
        assert shop.count_audits() == 0
        assert standing(task.gateway)["note"].startswith(NOT_CONFIRMED)

        question = shop.find_local(task)
        careful = shop.ask(task, "careful", task.questions(20))

        assert "local" not in list_decisions(careful)
        assert {reply.reason for reply in careful if reply.decision == "escalated"} == {NOT_CONFIRMED}
        got = task.gateway.chat(
            {"authorization": f"Bearer {shop.keys['trusting']}"},
            messages=task.messages(question),
        )
        why = ("why", got.header("x-request-id") or "")
        wait_for(lambda: NOT_CONFIRMED in flat(stepdown(shop.home, *why).stdout), "no record of it")
        name = standing(task.gateway)["task"]
        assert NOT_CONFIRMED in flat(shop.do("tasks", "show", name))
        assert NOT_CONFIRMED in shop.do("models", "show", name)

    with shop.serve() as task:
        shop.find_local(task)
        assert "local" not in list_decisions(shop.ask(task, "careful", task.questions(10)))

        rows = HarvestReader(Home(shop.home).harvest).rows(name).rows
        imported = next(row for row in rows if row.is_held_out and not row.propensity)
        shop.do("harvest", "forget", "--request", imported.request_id)
        wait_until(task.gateway, "shadow")
        left = shop.ask(task, "trusting", task.questions(20))
        assert "local" not in list_decisions(left), left


def flat(text: str) -> str:
    return " ".join(text.split())


def test_another_teacher_than_that_of_the_logs_ends_it_within_few_audits(
    shop: Shop, running: RunningTeacher
) -> None:
    """Three answers in ten differ from what was imported: back to the teacher.

    By an alarm, or by the live test that refutes it after 40 audits: which comes first, the machine decides.
    """
    with shop.serve() as task:
        wait_until(task.gateway, "live")
        shop.find_local(task)
        for _ in range(200):
            # Few at a time: those asked while the alarm is being given are audited, too.
            questions = task.questions(10)
            others = {text: differ(text, label) for text, label in questions.items()}
            running.control.pairs.update(others)
            shop.ask(task, "trusting", others)
            if standing(task.gateway)["stage"] != "live":
                break

        assert standing(task.gateway)["stage"] in ("alarm", "shadow")
        assert shop.count_audits() <= MOST_AUDITS
        after = shop.ask(task, "trusting", task.questions(20))
        assert "local" not in list_decisions(after), after


def differ(text: str, label: str) -> str:
    """Return the answer of a teacher who agrees in seven of ten."""
    if zlib.crc32(text.encode()) % 10 >= 3:
        return label
    return LABELS[(LABELS.index(label) + 1) % len(LABELS)]
