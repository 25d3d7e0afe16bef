"""Those who wait for drafts in tests."""

from __future__ import annotations

from collections.abc import Callable

from gateway.specialists.base import Nobody, Proposal


class Recorder(Nobody):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.openings: list[Proposal] = []
        self.pieces: list[str] = []

    def opening(self, proposal: Proposal) -> None:
        """Keep it."""
        self.openings.append(proposal)

    def piece(self, text: str) -> None:
        """Keep it."""
        self.pieces.append(text)


class Leaver(Nobody):
    """Has left before work began."""

    def has_left(self) -> bool:
        """Yes."""
        return True

    def when_left(self, act: Callable[[], None]) -> None:
        """At once."""
        act()
