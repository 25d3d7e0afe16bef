"""Recognizes the task of a specialist that the client asks for by name: model `stepdown/<task>`."""

from __future__ import annotations

import msgspec

from gateway.core import OWN_PREFIX, Request, Route
from gateway.routing.base import Embedder, KnownTasks


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No settings."""


def create(config: Config, tasks: KnownTasks, embedder: Embedder) -> NamedClassifier:
    """Return the classifier."""
    return NamedClassifier(tasks)


class NamedClassifier:
    """Trusts the model name that the client gives."""

    def __init__(self, tasks: KnownTasks) -> None:
        self._tasks = tasks

    async def classify(self, request: Request) -> Route | None:
        """Return the task that `request` names as its model, if it is adopted; never waits."""
        name = request.model.removeprefix(OWN_PREFIX)
        return Route(name) if request.names_specialist and name in self._tasks else None
