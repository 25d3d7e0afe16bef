"""What a version's validation showed, kept beside its files: a later judgment needs it again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.core import Deferral
from gateway.distill.base import EvalResult
from gateway.registry.files import read_json

FILE = "validation.json"


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """How a student of most of the lessons did on the rest, and the deferral head fitted to that."""

    deferral: Deferral | None = None
    scores: list[float] = []
    losses: list[float] = []
    graded: dict[str, list[float]] = {}

    @property
    def result(self) -> EvalResult:
        """The same as an evaluation, without its drafts."""
        return EvalResult(self.scores, self.losses, graded=self.graded)


def write_validation(result: EvalResult, deferral: Deferral | None, folder: Path) -> None:
    """Write what a version's validation showed into `folder`."""
    validation = Validation(
        deferral=deferral,
        scores=list(result.scores),
        losses=list(result.losses),
        graded={agreement: list(losses) for agreement, losses in result.graded.items()},
    )
    (folder / FILE).write_bytes(msgspec.json.encode(validation))


def read_validation(folder: Path) -> Validation:
    """Return it; an empty one if the folder holds none. Raises RegistryError for an unreadable file."""
    path = folder / FILE
    return read_json(path, Validation) if path.exists() else Validation()
