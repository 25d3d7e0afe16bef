from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.core import DraftRequest
from gateway.errors import SpecialistError
from gateway.specialists.base import NullListener
from gateway.specialists.engine import engine_process
from gateway.specialists.engine.client import EngineClient
from gateway.specialists.engine.engine_process import EngineProcess, ask_for_large_pages
from gateway.specialists.engine.protocol import EngineReply, Generate
from gateway.specialists.protocol import Failed
from tests.support.waiting import PATIENCE_S


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


def test_an_engine_that_writes_what_is_no_reply_ends_and_refuses_its_drafts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where a `sitecustomize` prints: each draft would wait until the whole host gave up."""

    def start_printing(*_: object, **options: Any) -> subprocess.Popen[bytes]:
        prints = "import sys; print('patched your Python', flush=True); sys.stdin.read()"
        return subprocess.Popen([sys.executable, "-c", prints], stdin=subprocess.PIPE, **options)

    monkeypatch.setattr(engine_process, "start_module", start_printing)
    has_ended, replies = threading.Event(), queue.SimpleQueue[EngineReply]()
    process = EngineProcess(tmp_path, 256, lambda _: has_ended.set())
    with contextlib.suppress(SpecialistError):  # if it has ended before
        process.send_request(Generate(1, "", DraftRequest(text="lost card"), 1, None), replies)
        assert replies.get(timeout=PATIENCE_S) == Failed(1, "specialist failed")

    assert has_ended.wait(PATIENCE_S)
    process.stop()


@pytest.mark.learn
def test_an_engine_has_asked_for_large_pages(own_engine: EngineClient) -> None:
    """The process itself must have it from its start: glibc reads it before anything else runs."""
    request = DraftRequest(text="lost card")
    own_engine.draft(None, request, NullListener(), max_new_tokens=1, hold_back=None)

    environment = Path(f"/proc/{own_engine.pid}/environ").read_bytes().split(b"\0")

    assert b"GLIBC_TUNABLES=glibc.malloc.hugetlb=1" in environment
