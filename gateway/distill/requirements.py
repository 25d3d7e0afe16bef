"""What policies ask of a task's versions, given what these take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.core import Footprint, Requirement, RiskTarget
from gateway.store.tasks import TaskStore


class Requirements:
    """What the policies ask, by task; `of_model` returns what they ask of a model's specialists."""

    def __init__(self, tasks: TaskStore, of_model: Callable[[str], Sequence[Requirement]]) -> None:
        self._tasks = tasks
        self._of_model = of_model

    def targets(self, task: str) -> list[RiskTarget]:
        """Return the risk targets of all policies on live audits, strictest first."""
        return _confirm(each.target for each in self._of(task))

    def targets_within(self, task: str, footprint: Footprint | None) -> list[RiskTarget]:
        """Return those of the policies whose constraints a version of this footprint keeps."""
        return _confirm(self.asked_within(task, footprint))

    def asked_within(self, task: str, footprint: Footprint | None) -> list[RiskTarget]:
        """Return the same as the policies ask for them: on imported rows, too."""
        return sorted({each.target for each in _keep_within(self._of(task), footprint)})

    def may_take(self, task: str, footprint: Footprint | None) -> bool:
        """Whether a version of this footprint may serve under some policy, or none asks for anything."""
        asked = self._of(task)
        return not asked or bool(_keep_within(asked, footprint))

    def excess(self, task: str, version: int, footprint: Footprint | None) -> str:
        """Return why a version may serve under no policy; empty if it may under one."""
        if self.may_take(task, footprint):
            return ""
        takes = f"takes {footprint.describe()}" if footprint else "was not measured"
        allowed = " or ".join(sorted({each.constraints.describe() for each in self._of(task)}))
        return f"version {version} {takes}; its policies allow {allowed}"

    def _of(self, task: str) -> Sequence[Requirement]:
        known = self._tasks.get(task)
        return self._of_model(known.model) if known else ()


def _keep_within(asked: Sequence[Requirement], footprint: Footprint | None) -> list[Requirement]:
    return [each for each in asked if not each.constraints.excess(footprint)]


def _confirm(targets: Iterable[RiskTarget]) -> list[RiskTarget]:
    return sorted({target.confirmed for target in targets})
