"""The wait for a core is read from the system, where it says it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gateway.ipc import core_wait
from gateway.ipc.core_wait import read_core_wait_s


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="the system does not say it")
def test_each_thread_has_a_wait_of_its_own_that_never_shrinks() -> None:
    waits: list[float] = []
    thread = threading.Thread(target=lambda: waits.append(read_core_wait_s()))
    first = read_core_wait_s()
    thread.start()
    thread.join()

    assert 0.0 <= first <= read_core_wait_s()
    assert waits[0] >= 0.0


@pytest.mark.parametrize("content", [None, "", "1", "1 x 2"])
def test_a_system_that_does_not_say_it_counts_as_one_with_free_cores(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "schedstat"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(core_wait, "_SCHEDSTAT", file)

    assert read_core_wait_s() == 0.0
