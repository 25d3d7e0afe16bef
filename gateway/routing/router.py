"""The task of a request: named by the first classifier that is sure, else new."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core import Request, Route
from gateway.routing.base import Classifier, task_name


class TaskRouter:
    """Asks classifiers in order, exact and cheap ones first."""

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        self._classifiers = tuple(classifiers)

    async def route(self, request: Request, scope: str) -> Route:
        """Return the task of `request` in `scope`; if all classifiers are unsure, its template's new task.

        A classifier's SpecialistError passes through: to call a request new because a classifier
        failed would file its answer under the wrong task.
        """
        for classifier in self._classifiers:
            if route := await classifier.classify(request, scope):
                return route
        return Route(task_name(request.template, scope))
