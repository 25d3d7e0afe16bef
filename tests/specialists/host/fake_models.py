"""Loaded models that draft when the test lets them, so that no test depends on a clock."""

from __future__ import annotations

import threading

from gateway.core import DraftRequest
from gateway.errors import SpecialistError
from gateway.specialists.base import Listener, Prediction
from gateway.specialists.host.loaded_models import LoadedModels, Version
from tests.specialists.hosting import FlatEncoder, resources_of
from tests.support.waiting import PATIENCE_S


class GatedModels(LoadedModels):
    """Models that answer every text with itself once `gate` is open."""

    def __init__(self) -> None:
        super().__init__(resources_of(FlatEncoder()))
        self.gate = threading.Event()

    def draft(self, version: Version, draft_request: DraftRequest, listener: Listener) -> Prediction:
        self.gate.wait(PATIENCE_S)
        return Prediction(text=draft_request.text, score=1.0)


class CancellableModels(LoadedModels):
    """Models that open an answer and then wait for its cancellation."""

    def __init__(self) -> None:
        super().__init__(resources_of(FlatEncoder()))

    def draft(self, version: Version, draft_request: DraftRequest, listener: Listener) -> Prediction:
        cancelled = threading.Event()
        listener.add_cancel_callback(cancelled.set)
        listener.on_opening(Prediction(text="once", score=1.0))
        assert cancelled.wait(PATIENCE_S), "the draft was never cancelled"
        raise SpecialistError("cancelled")


class RemoteModels(LoadedModels):
    """Models of another process; `together` drafts wait for each other."""

    def __init__(self, together: int) -> None:
        super().__init__(resources_of(FlatEncoder()))
        self._barrier = threading.Barrier(together, timeout=PATIENCE_S)

    def is_remote(self, version: Version) -> bool:
        return True

    def draft(self, version: Version, draft_request: DraftRequest, listener: Listener) -> Prediction:
        self._barrier.wait()
        return Prediction(text=draft_request.text, score=1.0)


class ColdModels(GatedModels):
    """Models of which the task "cold" left memory, and is read once `gate` is open."""

    def has_left_memory(self, version: Version) -> bool:
        return version.task == "cold"

    def draft(self, version: Version, draft_request: DraftRequest, listener: Listener) -> Prediction:
        if self.has_left_memory(version):
            assert self.gate.wait(PATIENCE_S), "the gate was never opened"
        return Prediction(text=draft_request.text, score=1.0)
