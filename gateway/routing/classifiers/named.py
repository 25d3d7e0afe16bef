"""Recognizes the task of a specialist that the client asks for by name: model `stepdown/<its id or name>`."""

from __future__ import annotations

import msgspec

from gateway.core import OWN_PREFIX, Request, Route
from gateway.routing.base import Embedder, KnownTasks, NearCopies


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No settings."""


def create(config: Config, tasks: KnownTasks, copies: NearCopies, embedder: Embedder) -> NamedClassifier:
    """Return the classifier."""
    return NamedClassifier(tasks)


class NamedClassifier:
    """Trusts the model name that the client gives."""

    def __init__(self, tasks: KnownTasks) -> None:
        self._tasks = tasks

    async def classify(self, request: Request, scope: str) -> Route | None:
        """Return the task that `request` names as its model, if it is adopted in `scope`; never waits."""
        if not request.names_specialist:
            return None
        known = self._tasks.find_named(scope, request.model.removeprefix(OWN_PREFIX))
        return Route(known.task) if known else None
