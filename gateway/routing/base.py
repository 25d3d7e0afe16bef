"""What a classifier of requests must promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.core import Request, Route


class Classifier(Protocol):
    """One way to recognise a task."""

    async def classify(self, request: Request) -> Route | None:
        """Return the known task of `request`, or None when unsure.

        Called from many tasks at once. May raise SpecialistError when what it needs is
        down; never guesses: an unsure classifier says None and the next one is asked.
        """


class KnownTask(Protocol):
    """What a classifier may know of a task which has been adopted."""

    @property
    def task(self) -> str:
        """The task's name."""

    @property
    def contract_hash(self) -> str:
        """Hash of what must be equal exactly: model, tools, response_format."""

    @property
    def vector(self) -> bytes:
        """The template's unit embedding, float32."""


class KnownTasks(Protocol):
    """The adopted tasks; cheap to ask on every request."""

    def __contains__(self, task: str, /) -> bool: ...

    def all(self) -> Sequence[KnownTask]:
        """Return every adopted task."""


class Embedder(Protocol):
    """Text to a vector, made elsewhere."""

    async def embed(self, text: str, budget_s: float) -> bytes:
        """Return the unit embedding of `text` as float32 bytes within `budget_s`.

        Raises SpecialistError with a countable reason in every other case.
        """


def task_name(template: str) -> str:
    """Return the name of the task which a template (hex hash) founds.

    48 bits: among 1,000 adopted tasks and a million templates which vary by a date or a
    name, one false match has a probability of 0.0004 %; with 32 bits it would be 21 %.
    """
    return f"task-{template[:12]}"
