"""Recognises a task by its exact prompt template."""

from __future__ import annotations

import msgspec

from gateway.core import Request, Route
from gateway.routing.base import Embedder, KnownTasks, task_name


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to set."""


def create(config: Config, tasks: KnownTasks, embedder: Embedder) -> FingerprintClassifier:
    """Return the classifier."""
    return FingerprintClassifier(tasks)


class FingerprintClassifier:
    """Knows the tasks which were adopted under their own template."""

    def __init__(self, tasks: KnownTasks) -> None:
        self._tasks = tasks

    async def classify(self, request: Request) -> Route | None:
        """Return the task whose template is `request`'s own; never waits."""
        name = task_name(request.template)
        return Route(name) if name in self._tasks else None
