from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core import DraftRequest
from gateway.specialists.base import NullListener
from gateway.specialists.engine.client import EngineClient
from gateway.specialists.engine.engine_process import ask_for_large_pages


def test_large_pages_are_asked_for_beside_what_an_operator_tunes() -> None:
    asked = {"PATH": "/bin", "GLIBC_TUNABLES": "glibc.malloc.check=1"}

    assert ask_for_large_pages({})["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    assert ask_for_large_pages(asked) == {
        "PATH": "/bin",
        "GLIBC_TUNABLES": "glibc.malloc.check=1:glibc.malloc.hugetlb=1",
    }


@pytest.mark.parametrize("value", ["0", "2"])
def test_an_operators_own_choice_of_pages_stays(value: str) -> None:
    own = {"GLIBC_TUNABLES": f"glibc.malloc.hugetlb={value}"}

    assert ask_for_large_pages(own) == own


@pytest.mark.learn
def test_an_engine_has_asked_for_large_pages(own_engine: EngineClient) -> None:
    """The process itself must have it from its start: glibc reads it before anything else runs."""
    request = DraftRequest(text="lost card")
    own_engine.draft(None, request, NullListener(), max_new_tokens=1, hold_back=None)

    environment = Path(f"/proc/{own_engine.pid}/environ").read_bytes().split(b"\0")

    assert b"GLIBC_TUNABLES=glibc.malloc.hugetlb=1" in environment
