"""A replaced file is the old one or the new one, never a part."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.store.atomic_file import replace_file


def test_the_old_content_stays_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")

    with replace_file(path) as scratch:
        scratch.write_text("new")
        assert path.read_text() == "old"

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")

    def fail_half_way() -> None:
        with replace_file(path) as scratch:
            scratch.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()

    assert path.read_text() == "old"
