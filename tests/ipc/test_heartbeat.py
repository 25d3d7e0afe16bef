"""A child that is stopped is told from one that works, that starves, and that was not looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.ipc.heartbeat import FIRST_BEAT_S, STILL_S, VARIABLE, Heart, Watch
from tests.support.waiting import wait_for

SLEEPS = "import time\nprint('up', flush=True)\ntime.sleep(600)"
SPINS = "print('up', flush=True)\nwhile True: pass"


@contextmanager
def watched(program: str) -> Iterator[tuple[int, Watch, Heart]]:
    """Run `program`; give its process, the watch over it, and its heart, which this process beats."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    ours, theirs = os.pipe()
    watch = Watch(process.pid, ours)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid, watch, Heart({VARIABLE: str(theirs)})
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
        watch.close()
        os.close(theirs)


def look_on(watch: Watch, seconds: float, since: float = 0.0) -> bool:
    """Look every second for so long; return whether the child was ever too still."""
    looks = [watch.is_too_still(since + second) for second in range(int(seconds) + 1)]
    return any(looks)


def sleep_in_state(process: int, state: str) -> None:
    wait_for(lambda: f") {state} " in _stat(process), f"the child is never in state {state}")


def _stat(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text()
    return ""


pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")


def test_a_stopped_child_is_too_still_after_ten_seconds() -> None:
    with watched(SLEEPS) as (process, watch, heart):
        heart.beat()
        os.kill(process, signal.SIGSTOP)
        sleep_in_state(process, "T")

        assert not look_on(watch, STILL_S - 1)
        assert watch.is_too_still(STILL_S)


def test_a_child_that_gives_signs_of_life_is_not_still() -> None:
    with watched(SLEEPS) as (process, watch, heart):
        sleep_in_state(process, "S")
        for second in range(30):
            heart.beat()
            assert not watch.is_too_still(second)


def test_a_child_that_waits_for_ever_without_a_sign_is_still() -> None:
    """Its event loop waits for what never comes."""
    with watched(SLEEPS) as (process, watch, heart):
        heart.beat()
        sleep_in_state(process, "S")

        assert look_on(watch, STILL_S)


def test_a_child_that_runs_or_wants_to_is_never_still() -> None:
    """On a busy machine it may get no processor for long; it is in the same state as one that runs."""
    with watched(SPINS) as (_, watch, heart):
        heart.beat()

        assert not look_on(watch, 10 * STILL_S)


def test_before_its_first_sign_a_child_has_a_minute() -> None:
    with watched(SLEEPS) as (process, watch, _):
        sleep_in_state(process, "S")

        assert not look_on(watch, FIRST_BEAT_S - 1)
        assert watch.is_too_still(FIRST_BEAT_S)


def test_time_in_which_the_parent_did_not_look_does_not_count() -> None:
    """A parent that was stopped itself, or starved, has seen nothing of its child."""
    with watched(SLEEPS) as (process, watch, heart):
        heart.beat()
        os.kill(process, signal.SIGSTOP)
        sleep_in_state(process, "T")
        assert not watch.is_too_still(0.0)

        assert not watch.is_too_still(1_000.0)
        assert not look_on(watch, STILL_S - 1, since=1_000.5)


def test_a_full_pipe_does_not_block_the_child() -> None:
    ours, theirs = os.pipe()
    heart = Heart({VARIABLE: str(theirs)})

    def beat_often() -> None:
        for _ in range(100_000):
            heart.beat()

    beating = threading.Thread(target=beat_often, daemon=True)
    beating.start()
    beating.join(60)

    assert not beating.is_alive()
    os.close(ours)
    os.close(theirs)


def test_without_a_pipe_a_heart_beats_for_nothing() -> None:
    Heart({}).beat()
