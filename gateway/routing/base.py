"""The protocol of classifiers, and the tasks and embeddings that they work with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

from gateway.core import CopyStatus, Request, Route


class Classifier(Protocol):
    """One way to recognize a task."""

    async def classify(self, request: Request, scope: str) -> Route | None:
        """Return the known task of `request` in `scope`, or None if unsure: it must not guess.

        After None the next classifier is asked. Called from many asyncio tasks at once. May raise
        SpecialistError if the model host fails.
        """


class KnownTask(Protocol):
    """An adopted task as classifiers see it."""

    @property
    def task(self) -> str:
        """The task's name."""

    @property
    def scope(self) -> str:
        """The tenant, policy or all that founded it."""

    @property
    def contract_hash(self) -> str:
        """Hash of the parts that must be equal: model, tools, response_format."""

    @property
    def template_text(self) -> str:
        """The text of the template that founded it."""

    @property
    def vector(self) -> bytes:
        """The template's unit embedding, float32."""


class KnownTasks(Protocol):
    """All adopted tasks; cheap to ask on every request."""

    def get(self, task: str) -> KnownTask | None:
        """Return an adopted task by its name."""

    def find_named(self, scope: str, name: str) -> KnownTask | None:
        """Return the adopted task of `scope` with that id or readable name."""

    def all(self) -> Sequence[KnownTask]:
        """Return every adopted task."""


class NearCopies(Protocol):
    """What near copies of templates have proved; cheap to ask on every request."""

    def status_of(self, task: str, *copies: str) -> CopyStatus | None:
        """Return what the first of `copies` that has proved anything is; None without one."""


class Embedder(Protocol):
    """The encoder of the model host."""

    async def embed(self, text: str, budget_s: float) -> bytes:
        """Return the unit embedding of `text` as float32 bytes within `budget_s`.

        Raises SpecialistError with a countable reason if it cannot.
        """


@lru_cache(maxsize=4_096)
def task_name(template: str, scope: str) -> str:
    """Return the name of the task that a template (hex hash) founds in a scope.

    48 bits: among 1,000 adopted tasks and a million templates that vary by a date or a
    name, a false match has a probability of 0.0004 %; with 32 bits it would be 21 %.
    """
    digest = blake2b(f"{scope} {template}".encode(), digest_size=6)
    return f"task-{digest.hexdigest()}"
