"""A specialist for tests which answers and fails as its script says."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Literal

import msgspec

from gateway.errors import RegistryError, SpecialistError
from gateway.specialists.base import Encoder, Proposal

SCRIPT = "script.json"

Fault = Literal["refuse", "crash", "hang", "die"]
"""Raise SpecialistError, raise something else, never return, take the whole process along."""


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers and faults by input text; any other text gets `otherwise`."""

    answers: dict[str, str] = {}
    faults: dict[str, Fault] = {}
    otherwise: str = "scripted"
    score: float = 1.0
    delay_ms: float = 0.0


def create(folder: Path, encoder: Encoder) -> ScriptedRuntime:
    """Return the runtime of `script.json` in `folder`. Raises RegistryError."""
    path = folder / SCRIPT
    try:
        return ScriptedRuntime(msgspec.json.decode(path.read_bytes(), type=Script))
    except (OSError, ValueError) as exc:
        raise RegistryError(f"{path} is unreadable: {exc}") from exc


class ScriptedRuntime:
    """Drafts by looking the text up."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._never = threading.Event()

    def draft(self, text: str) -> Proposal:
        """Return the scripted answer after the scripted delay, or fail as scripted."""
        if fault := self._script.faults.get(text):
            self._fail(fault)
        self._never.wait(self._script.delay_ms / 1_000)
        return Proposal(text=self._script.answers.get(text, self._script.otherwise), score=self._script.score)

    def _fail(self, fault: Fault) -> None:
        match fault:
            case "refuse":
                raise SpecialistError("scripted refusal")
            case "crash":
                raise ZeroDivisionError("scripted crash")
            case "hang":
                self._never.wait()
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
