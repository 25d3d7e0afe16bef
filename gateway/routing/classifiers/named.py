"""Recognises the task whose specialist the client asks for by name: model `stepdown/<task>`."""

from __future__ import annotations

import msgspec

from gateway.core import OWN_PREFIX, Request, Route
from gateway.routing.base import Embedder, KnownTasks


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to set."""


def create(config: Config, tasks: KnownTasks, embedder: Embedder) -> NamedClassifier:
    """Return the classifier."""
    return NamedClassifier(tasks)


class NamedClassifier:
    """Takes the client's word for it."""

    def __init__(self, tasks: KnownTasks) -> None:
        self._tasks = tasks

    async def classify(self, request: Request) -> Route | None:
        """Return the task which `request` names as its model, if it is known; never waits."""
        name = request.model.removeprefix(OWN_PREFIX)
        return Route(name) if request.names_specialist and name in self._tasks else None
