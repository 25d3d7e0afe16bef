"""What near copies have proved: the same for every process, and decided once."""

from __future__ import annotations

from gateway.routing.base import NearCopies
from gateway.store.database import Database
from gateway.store.templates import TemplateStore


def test_a_status_is_seen_by_other_processes(database: Database, other_process: Database) -> None:
    ours: NearCopies = TemplateStore(database)
    theirs = TemplateStore(other_process)
    assert ours.status_of("cards", "feed") is None

    theirs.put("cards", "feed", "separate")
    TemplateStore.refresh(ours)  # type: ignore[arg-type]

    assert ours.status_of("cards", "feed") == "separate"
    assert ours.status_of("loans", "feed") is None


def test_of_two_writers_the_first_wins(database: Database, other_process: Database) -> None:
    first, second = TemplateStore(database), TemplateStore(other_process)

    first.put("cards", "feed", "separate")
    second.put("cards", "feed", "known")

    assert second.status_of("cards", "feed") == "separate"


def test_the_status_of_the_first_key_that_has_one_decides(database: Database) -> None:
    store = TemplateStore(database)
    store.put("cards", "place 3-1", "known")
    assert store.status_of("cards", "feed", "place 3-1") == "known"

    store.put("cards", "feed", "separate")
    assert store.status_of("cards", "feed", "place 3-1") == "separate"
