"""Recognizes a task by its exact prompt template."""

from __future__ import annotations

import msgspec

from gateway.core import Request, Route
from gateway.routing.base import Embedder, KnownTasks, NearCopies, task_name


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No settings."""


def create(
    config: Config, tasks: KnownTasks, copies: NearCopies, embedder: Embedder
) -> FingerprintClassifier:
    """Return the classifier."""
    return FingerprintClassifier(tasks)


class FingerprintClassifier:
    """Knows the task that a template founded, once it is adopted."""

    def __init__(self, tasks: KnownTasks) -> None:
        self._tasks = tasks

    async def classify(self, request: Request, scope: str) -> Route | None:
        """Return the adopted task with exactly this template; never waits."""
        name = task_name(request.template, scope)
        return Route(name) if self._tasks.get(name) else None
