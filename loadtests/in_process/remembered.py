"""A recipe that trains once what is the same: several scenarios of a seed learn the same import."""

from __future__ import annotations

import hashlib
import shutil
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from gateway.distill.base import EvalResult, Recipe, Report, TrainingSet, Workspace

_MOST = 8
"""Students kept of each kind: the scenarios of one seed and data set."""


class TrainingMemory:
    """What recipes have validated and trained; use it as a context, which deletes the files."""

    def __init__(self) -> None:
        self.validations = OrderedDict[str, EvalResult]()
        self.reports = OrderedDict[str, Report]()
        self._folder = TemporaryDirectory(prefix="stepdown-remembered-")

    def __enter__(self) -> TrainingMemory:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the files."""
        self._folder.cleanup()

    def folder(self, key: str) -> Path:
        """Return where the files of a trained student are."""
        return Path(self._folder.name) / key

    def keep_report(self, key: str, report: Report, files: Path) -> None:
        """Keep what was trained, and forget the oldest beyond the limit."""
        shutil.copytree(files, self.folder(key))
        self.reports[key] = report
        while len(self.reports) > _MOST:
            shutil.rmtree(self.folder(self.reports.popitem(last=False)[0]))

    def keep_validation(self, key: str, result: EvalResult) -> None:
        """Keep a validation, and forget the oldest beyond the limit."""
        self.validations[key] = result
        while len(self.validations) > _MOST:
            self.validations.popitem(last=False)


class RememberedRecipe:
    """A recipe whose students depend on lessons, exam and seed alone, as those of `head` do."""

    def __init__(self, recipe: Recipe, memory: TrainingMemory) -> None:
        self._recipe = recipe
        self._memory = memory
        self.name, self.runtime = recipe.name, recipe.runtime
        self.learns = recipe.learns
        self.is_general, self.growth = recipe.is_general, recipe.growth

    def can_learn(self, rows: TrainingSet) -> bool:
        """See Recipe."""
        return self._recipe.can_learn(rows)

    def validate(self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace) -> EvalResult:
        """See Recipe."""
        key = self._key(workspace, lessons, exam)
        if key not in self._memory.validations:
            self._memory.keep_validation(key, self._recipe.validate(lessons, exam, workspace))
        return self._memory.validations[key]

    def train(self, lessons: TrainingSet, folder: Path, workspace: Workspace) -> Report:
        """See Recipe."""
        key = self._key(workspace, lessons)
        if key in self._memory.reports:
            shutil.copytree(self._memory.folder(key), folder, dirs_exist_ok=True)
            return self._memory.reports[key]
        report = self._recipe.train(lessons, folder, workspace)
        self._memory.keep_report(key, report, folder)
        return report

    def _key(self, workspace: Workspace, *sets: TrainingSet) -> str:
        asked = (self.name, workspace.seed, workspace.agreements, workspace.alphas, sets)
        return hashlib.sha256(msgspec.msgpack.encode(asked)).hexdigest()
