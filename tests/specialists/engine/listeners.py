"""Those who wait for drafts in tests."""

from __future__ import annotations

from collections.abc import Callable

from gateway.specialists.base import NullListener, Prediction


class Recorder(NullListener):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.openings: list[Prediction] = []
        self.pieces: list[str] = []

    def opening(self, prediction: Prediction) -> None:
        """Keep it."""
        self.openings.append(prediction)

    def piece(self, text: str) -> None:
        """Keep it."""
        self.pieces.append(text)


class Leaver(NullListener):
    """Has left before work began."""

    def has_left(self) -> bool:
        """Yes."""
        return True

    def when_left(self, act: Callable[[], None]) -> None:
        """At once."""
        act()
