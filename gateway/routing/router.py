"""The name of a request's task: what the first sure classifier says, else a new one."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core import Request, Route
from gateway.routing.base import Classifier, task_name


class TaskRouter:
    """Asks classifiers in order, the exact and cheap ones first."""

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        self._classifiers = tuple(classifiers)

    async def route(self, request: Request) -> Route:
        """Return the task of `request`; when all are unsure, the new task its template founds.

        Passes on a classifier's SpecialistError: to call a request new because nobody could
        look would file its answer under the wrong task.
        """
        for classifier in self._classifiers:
            if route := await classifier.classify(request):
                return route
        return Route(task_name(request.template))
