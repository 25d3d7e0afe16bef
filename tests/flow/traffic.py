"""Labeled traffic for a whole gateway, until it has learned a task."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from gateway.demo.tickets import generate_tickets
from tests.support.processes import RunningGateway
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S

LABELS = ("track-order", "password-reset", "discount-code", "product-question")
POLICY = """
policies:
  - name: quick
    alpha: 0.2
    delta: 0.1
    audit: {shadow: 0.4, certified: 0.2}
"""
# So that a task is learned from a few hundred requests, within seconds.
QUICK = {
    "STEPDOWN_LEARN_INTERVAL_S": "0.1",
    "STEPDOWN_LEARN_ADOPT_ROWS": "20",
    "STEPDOWN_LEARN_FIRST_ROWS": "60",
}
BATCH = 150
LEARNING_S = 5.0
TICK_S = 0.05


def quick_policies(folder: Path) -> str:
    """Write POLICY into a new folder and return the folder for STEPDOWN_POLICIES_FOLDER."""
    folder.mkdir(parents=True)
    (folder / "default.yaml").write_text(POLICY)
    return str(folder)


class Reply(msgspec.Struct, frozen=True):
    """The reply to one question."""

    question: str
    status: int
    decision: str
    reason: str
    text: str


class Task:
    """One prompt with a stream of new questions; the teacher gets each answer beforehand.

    `route` is the task's name in the gateway, known after the first reply.
    """

    def __init__(self, gateway: RunningGateway, teacher: RunningTeacher, prompt: str, seed: int = 0) -> None:
        self.gateway = gateway
        self.prompt = prompt
        self.route = ""
        self.relabel: Mapping[str, str] = {}
        self._teacher = teacher
        known = (pair for pair in generate_tickets(100_000, seed) if pair.answer in LABELS)
        self._fresh = ((pair.text, pair.answer) for pair in known)

    def questions(self, count: int) -> dict[str, str]:
        """Return new questions with the teacher's answers."""
        chosen = {
            text: self.relabel.get(label, label) for text, label in itertools.islice(self._fresh, count)
        }
        self._teacher.control.pairs.update(chosen)
        return chosen

    def messages(self, question: str) -> list[dict[str, Any]]:
        """Return the messages of an app that asks `question`."""
        return [{"role": "system", "content": self.prompt}, {"role": "user", "content": question}]

    async def ask(
        self, questions: Iterable[str], in_flight: int = 16, headers: Mapping[str, str] | None = None
    ) -> list[Reply]:
        """Send every question, `in_flight` at a time, and return the replies in the same order."""
        gate = asyncio.Semaphore(in_flight)
        async with aiohttp.ClientSession(
            f"{self.gateway.base_url}/", timeout=aiohttp.ClientTimeout(PATIENCE_S), headers=headers
        ) as session:

            async def one(question: str) -> Reply:
                body = {"model": "gpt-4o", "messages": self.messages(question)}
                async with gate, session.post("chat/completions", json=body) as got:
                    content = await got.json()
                    text = content["choices"][0]["message"]["content"] if got.status == 200 else ""
                    labels = [got.headers.get(f"x-stepdown-{name}", "") for name in ("decision", "reason")]
                    self.route = self.route or got.headers["x-stepdown-route"]
                    return Reply(question, got.status, labels[0], labels[1], text)

            return await asyncio.gather(*map(one, questions))

    def standing(self) -> dict[str, Any]:
        """Return the task's standing as the admin plane shows it, empty before there is one."""
        standings = self.gateway.status()["tasks"]
        return next((one for one in standings if one["task"] == self.route), {})

    async def certify(self) -> dict[str, Any]:
        """Send new traffic until a specialist may answer, and return its standing."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            await self.ask(self.questions(BATCH))
            # The learner has a lower priority than this process: without a pause it would not get its turn.
            if standing := await self._live(LEARNING_S):
                return standing
            assert time.monotonic() < deadline, f"not certified: {self.standing()}"

    async def _live(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (standing := self.standing()) and standing["stage"] == "live":
                return standing
            await asyncio.sleep(TICK_S)
        return {}

    async def local_question(self) -> str:
        """Return a question that the specialist has just answered.

        It answers the same question again unless a new minute makes that an audit.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for reply in await self.ask(self.questions(BATCH // 6)):
                if reply.decision == "local":
                    return reply.question
            assert time.monotonic() < deadline, f"nothing is answered locally: {self.standing()}"
