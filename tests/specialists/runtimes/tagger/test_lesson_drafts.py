from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core import Trace
from gateway.errors import RegistryError
from gateway.specialists.runtimes.tagger.grammar import Span
from gateway.specialists.runtimes.tagger.lesson_drafts import (
    FILE,
    LessonDraft,
    read_lesson_drafts,
    write_lesson_drafts,
)

DRAFT = LessonDraft(
    options=[2],
    spans=[Span(0, 5, 8)],
    trace=Trace((-0.1,), (2.3,), (0.3,)),
    similarity=1 / 3,
    prompt_tokens=4,
)


def test_a_draft_is_found_by_exactly_its_text(tmp_path: Path) -> None:
    write_lesson_drafts({"call Ada": DRAFT, "lone \ud800": DRAFT}, tmp_path)

    known = read_lesson_drafts(tmp_path)

    assert known.find("call Ada") == known.find("lone \ud800") == DRAFT
    assert known.find("call ada") is known.find("call Ada ") is None


def test_the_file_holds_no_letter_of_a_text(tmp_path: Path) -> None:
    write_lesson_drafts({"call Ada": DRAFT}, tmp_path)

    assert b"Ada" not in (tmp_path / FILE).read_bytes()


def test_a_version_without_them_drafts_everything_anew(tmp_path: Path) -> None:
    assert read_lesson_drafts(tmp_path).find("call Ada") is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\x81\xa1")

    with pytest.raises(RegistryError, match=r"lesson_drafts\.msgpack is unreadable"):
        read_lesson_drafts(tmp_path)
