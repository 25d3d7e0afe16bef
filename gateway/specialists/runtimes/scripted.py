"""A specialist for tests that answers and fails as its script says."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from typing import Literal

import msgspec

from gateway.core import DraftRequest
from gateway.errors import SpecialistError
from gateway.registry.files import read_json
from gateway.specialists.base import Listener, Prediction
from gateway.specialists.shared_resources import SharedResources

SCRIPT = "script.json"

ScriptedFault = Literal["refuse", "crash", "hang", "die"]
"""Raise SpecialistError, raise another error, never return, kill the whole process."""


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers and faults by input text; any other text gets `otherwise`.

    With `hold_back`, a streamed answer opens with so many words; the others follow one by one.
    """

    answers: dict[str, str] = {}
    faults: dict[str, ScriptedFault] = {}
    otherwise: str = "scripted"
    score: float = 1.0
    delay_ms: float = 0.0
    hold_back: int | None = None
    piece_delay_ms: float = 0.0
    breaks_after: int | None = None
    """Pieces after which a streamed answer fails."""


def create(folder: Path, resources: SharedResources) -> ScriptedRuntime:
    """Return the runtime of `script.json` in `folder`. Raises RegistryError."""
    return ScriptedRuntime(read_json(folder / SCRIPT, Script))


class ScriptedRuntime:
    """Drafts by looking up the text."""

    is_remote = False

    def __init__(self, script: Script) -> None:
        self._script = script
        self._never = threading.Event()

    def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
        """Return the scripted answer after the scripted delay, or fail as scripted."""
        if fault := self._script.faults.get(draft_request.text):
            self._fail(fault)
        self._never.wait(self._script.delay_ms / 1_000)
        answer = self._script.answers.get(draft_request.text, self._script.otherwise)
        if draft_request.is_streamed and self._script.hold_back is not None:
            self._stream(answer, self._script.hold_back, listener)
        return self._predict(answer)

    def close(self) -> None:
        """Do nothing: there is nothing to free."""

    def _stream(self, answer: str, hold_back: int, listener: Listener) -> None:
        words = re.findall(r"\s*\S+", answer)
        listener.on_opening(self._predict("".join(words[:hold_back])))
        for number, word in enumerate(words[hold_back:]):
            self._never.wait(self._script.piece_delay_ms / 1_000)
            if listener.is_cancelled():
                raise SpecialistError("cancelled")
            if number == self._script.breaks_after:
                raise SpecialistError("scripted refusal")
            listener.on_piece(word)

    def _predict(self, text: str) -> Prediction:
        return Prediction(text=text, score=self._script.score, completion_tokens=len(text.split()))

    def _fail(self, fault: ScriptedFault) -> None:
        match fault:
            case "refuse":
                raise SpecialistError("scripted refusal")
            case "crash":
                raise ZeroDivisionError("scripted crash")
            case "hang":
                self._never.wait()
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
