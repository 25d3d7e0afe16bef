"""Listeners of drafts for tests."""

from __future__ import annotations

from collections.abc import Callable

from gateway.specialists.base import NullListener, Prediction


class RecordingListener(NullListener):
    """Keeps openings and pieces."""

    def __init__(self) -> None:
        self.openings: list[Prediction] = []
        self.pieces: list[str] = []

    def on_opening(self, prediction: Prediction) -> None:
        """Keep it."""
        self.openings.append(prediction)

    def on_piece(self, text: str) -> None:
        """Keep it."""
        self.pieces.append(text)


class CancelledListener(NullListener):
    """Is cancelled before work begins."""

    def is_cancelled(self) -> bool:
        """Always."""
        return True

    def add_cancel_callback(self, callback: Callable[[], None]) -> None:
        """Call it at once."""
        callback()
