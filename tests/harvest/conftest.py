"""Rows, and outboxes which are closed when their test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.harvest.base import Row
from gateway.harvest.outbox import Config, Outbox


@pytest.fixture
def row() -> Callable[..., Row]:
    """Make a row of the task "cards", with changes."""

    def make(**changes: Any) -> Row:
        facts: dict[str, Any] = {
            "request_id": "req-1",
            "at": 1.0,
            "task": "cards",
            "match": "fingerprint",
            "template": "feed",
            "model": "giant",
            "template_text": "You sort questions.",
            "contract_hash": "beef",
            "text": "where is my card?",
            "answer": "card_arrival",
            "messages": b'[{"role":"user","content":"where is my card?"}]',
            "is_held_out": False,
            "propensity": 0.3,
        }
        return Row(**facts | changes)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "harvest"


@pytest.fixture
def outbox(folder: Path) -> Iterator[Callable[..., Outbox]]:
    """Open the outbox of worker `n`, with changes to its Config."""
    opened: list[Outbox] = []

    def open_one(n: int = 0, **config: Any) -> Outbox:
        opened.append(Outbox(folder / f"worker-{n}.db", Config(**config)))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()
