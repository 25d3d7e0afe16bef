"""A specialist host that drafts, is late, crashes or breaks off, as the seed says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from gateway.core import Draft, DraftRequest, FinishReason
from gateway.errors import SpecialistError
from tests.simulation.text import number_of

KINDS = ("drafts",) * 7 + ("is late", "crashes", "has a bug", "drafts with another version")


class SeededDrafter:
    """Implements Drafter."""

    def __init__(self, choices: random.Random, trace: Callable[[str], None]) -> None:
        self.open_streams = 0
        self.with_bug: set[int] = set()
        self._choices = choices
        self._trace = trace

    async def load(self, task: str, version: int, folder: Path) -> None:
        """See Drafter."""

    async def embed(self, text: str, budget_s: float) -> bytes:
        """See Drafter."""
        raise SpecialistError("host down")

    async def draft(self, task: str, version: int, draft_request: DraftRequest, budget_s: float) -> Draft:
        """See Drafter."""
        choices, kind = self._choices, self._choices.choice(KINDS)
        self._trace(f"{draft_request.text}: the specialist {kind}")
        if kind == "is late":
            await asyncio.sleep(budget_s)
            raise SpecialistError("late")
        await asyncio.sleep(choices.choice((0, 0.01, 0.1, 0.4)))
        if kind == "crashes":
            raise SpecialistError("host down")
        if kind == "has a bug":
            self.with_bug.add(number_of(draft_request.text))
            raise RuntimeError("a bug of ours")
        return Draft(
            text=f"draft of {task}",
            score=choices.random(),
            task=task,
            version=version + (kind != "drafts"),
            is_learnt=choices.random() < 0.3,
            stream=SeededStream(self, choices) if draft_request.is_streamed else None,
        )


class SeededStream:
    """The rest of a draft; some break off."""

    def __init__(self, drafter: SeededDrafter, choices: random.Random) -> None:
        self.finish_reason: FinishReason = "stop"
        self.completion_tokens = 3
        self._drafter = drafter
        self._choices = choices
        self._left = choices.randint(1, 4)
        self._breaks_at = 1 if choices.random() < 0.3 else 0
        self._is_open = True
        drafter.open_streams += 1

    def __aiter__(self) -> SeededStream:
        return self

    async def __anext__(self) -> str:
        await asyncio.sleep(self._choices.choice((0, 0.02, 1.0)))
        if self._left <= self._breaks_at:
            raise SpecialistError("host down")
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return " and more"

    async def aclose(self) -> None:
        """See DraftStream."""
        self._drafter.open_streams -= self._is_open
        self._is_open = False
