"""A child that is stopped, or spins, is told from one that works, starves, or was not looked at."""

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

from gateway.ipc import heartbeat
from gateway.ipc.heartbeat import FIRST_BEAT_S, STILL_S, VARIABLE, Heart, Watch
from tests.support.waiting import wait_for

SLEEPS = "import time\nprint('up', flush=True)\ntime.sleep(600)"
SPINS = "print('up', flush=True)\nwhile True: pass"
SPINS_BESIDE = (
    "import threading, time\nprint('up', flush=True)\n"
    "def spin():\n    while True: pass\n"
    "threading.Thread(target=spin, daemon=True).start()\ntime.sleep(600)"
)


@contextmanager
def watched(program: str, *, has_loop: bool = True) -> Iterator[tuple[int, Watch, Heart]]:
    """Run `program`; give its process, the watch over it, and its heart, which this process beats."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    ours, theirs = os.pipe()
    watch = Watch(process.pid, ours, has_loop=has_loop)
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


def spend_cpu(process: int, seconds: float) -> None:
    """Wait until a process has used so much processor time from now on."""
    stat = Path(f"/proc/{process}/stat")

    def ticks() -> int:
        return sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))

    enough = ticks() + seconds * os.sysconf("SC_CLK_TCK")
    wait_for(lambda: ticks() >= enough, "it gets no processor")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a fifth of a second of computing be without end."""
    monkeypatch.setattr(heartbeat, "SPINNING_CPU_S", 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_loop_that_computes_without_end_is_spinning_and_not_still() -> None:
    with watched(SPINS) as (process, watch, heart):
        heart.beat()
        assert not watch.is_too_still(0.0)
        assert not watch.is_spinning

        spend_cpu(process, 0.3)

        assert not watch.is_too_still(1.0)
        assert watch.is_spinning


@pytest.mark.usefixtures("impatient")
def test_a_loop_that_computes_much_and_gives_signs_is_not_spinning() -> None:
    with watched(SPINS) as (process, watch, heart):
        for second in range(3):
            heart.beat()
            watch.is_too_still(second)
            assert not watch.is_spinning
            spend_cpu(process, 0.15)


@pytest.mark.usefixtures("impatient")
def test_a_starved_loop_is_not_spinning_however_long_it_gives_no_sign() -> None:
    """Its own processor time stands still."""
    with watched(SPINS) as (process, watch, heart):
        os.kill(process, signal.SIGSTOP)
        sleep_in_state(process, "T")
        heart.beat()
        watch.is_too_still(0.0)

        look_on(watch, 1_000, since=1.0)

        assert not watch.is_spinning


@pytest.mark.usefixtures("impatient")
def test_threads_that_compute_beside_a_loop_are_not_the_loop() -> None:
    """The model host drafts in threads."""
    with watched(SPINS_BESIDE) as (process, watch, heart):
        heart.beat()
        watch.is_too_still(0.0)

        spend_cpu(process, 0.3)

        watch.is_too_still(1.0)
        assert not watch.is_spinning


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("case", ["it has no loop", "it has not begun", "the parent did not look"])
def test_who_may_compute_for_long_is_not_spinning(case: str) -> None:
    """The learner trains; imports take their time; signs that a stopped parent could not read may be lost."""
    with watched(SPINS, has_loop=case != "it has no loop") as (process, watch, heart):
        if case != "it has not begun":
            heart.beat()
        watch.is_too_still(0.0)

        spend_cpu(process, 0.3)

        watch.is_too_still(100.0 if case == "the parent did not look" else 1.0)
        assert not watch.is_spinning


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
