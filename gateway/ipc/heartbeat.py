"""Signs of life from a child process, and the watch that its parent keeps over them.

A child that is stopped, hangs or computes without end holds its sockets open, and what connects to it waits
for ever: only another process can see that. A child that is merely starved of the processor must never be
taken for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "GATEWAY_HEARTBEAT_FD"
"""Names the pipe in a child's environment."""
BEAT_S = 1.0
STILL_S = 10.0
"""A child that is still for longer is replaced."""
FIRST_BEAT_S = 60.0
"""The same before its first sign of life: it may wait for a slow disk with its imports."""
SPINNING_CPU_S = 60.0
"""An event loop that has computed for so long without turning is replaced: no step takes a tenth of a
second. It is the thread's own time: one that is starved has none."""
LOOK_S = 0.5
# We were held up ourselves: what happened meanwhile was not observed.
LONGEST_GAP_S = 3.0
# Threads that wait with a time limit wake now and then, even in a process with a loop that hangs.
IDLE_CPU_S = 0.05
# Running or waiting for the processor, waiting for the disk, held by a debugger.
_AT_WORK = frozenset("RDt")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Heart:
    """The child's end of the pipe; without one, its beats do nothing."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        number = environment.get(VARIABLE)
        self._pipe = int(number) if number else None
        if self._pipe is not None:
            os.set_blocking(self._pipe, False)
            # Our own children would keep it open, and need not.
            os.set_inheritable(self._pipe, False)

    def beat(self) -> None:
        """Give one sign of life; never blocks."""
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                os.write(self._pipe, b".")

    async def keep_beating(self) -> None:
        """Beat as long as the event loop turns, until it is cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT_S)

    def beat_in_thread(self) -> None:
        """Beat as long as this process is not stopped; for one without an event loop."""

        def keep_beating() -> None:
            while True:
                self.beat()
                time.sleep(BEAT_S)

        threading.Thread(target=keep_beating, name="heart", daemon=True).start()


class Watch:
    """The parent's end of the pipe: tells whether the child has been still, or has spun, for too long.

    Still means: no sign of life, no thread that runs or wants to, no processor time. A starved child
    wants to run; one that is stopped (SIGSTOP), or with a loop that waits for what never comes, does not.
    Spinning means: no sign of life, but much processor time of the main thread, where the signs come from.
    Where the system has no /proc, no child is ever either.
    """

    def __init__(self, process: int, pipe: int, *, has_loop: bool = False) -> None:
        """`has_loop` says that the main thread has nothing to do but to turn an event loop."""
        self._process = process
        self._has_loop = has_loop
        self._pipe = pipe
        os.set_blocking(pipe, False)
        self._has_beaten = False
        self._looked_at: float | None = None
        self._still_since = 0.0
        self._cpu_s = 0.0
        self._loop_cpu_s = math.inf
        self.is_spinning = False
        """Whether the loop computed without end when `is_too_still` looked last: then, too, replace it."""

    def is_too_still(self, now: float) -> bool:
        """Return whether the child must be replaced for that; call it often, with monotonic seconds."""
        last, limit_s = self._looked_at, STILL_S if self._has_beaten else FIRST_BEAT_S
        if last is not None and now - last < LOOK_S:
            return False
        self._looked_at = now
        was_held_up = last is None or now - last > LONGEST_GAP_S
        if is_fresh := self._hears_beat() or was_held_up:
            # Without a figure nothing is concluded from the next one.
            self._loop_cpu_s = _read_loop_cpu_s(self._process)
        if is_fresh or self._is_at_work():
            self._still_since = now
            self._cpu_s = read_cpu_s(self._process)
        if self._has_loop and self._has_beaten:
            self.is_spinning = _read_loop_cpu_s(self._process) - self._loop_cpu_s >= SPINNING_CPU_S
        return now - self._still_since >= limit_s

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._pipe)

    def _hears_beat(self) -> bool:
        with contextlib.suppress(OSError):
            if os.read(self._pipe, 4096):
                self._has_beaten = True
                return True
        return False

    def _is_at_work(self) -> bool:
        states = _read_states(self._process)
        return not states or bool(states & _AT_WORK) or read_cpu_s(self._process) - self._cpu_s > IDLE_CPU_S


def _read_states(process: int) -> set[str]:
    """Return the states of a process's threads; empty if they cannot be read."""
    states = set()
    for thread in Path(f"/proc/{process}/task").glob("*/stat"):
        with contextlib.suppress(OSError, IndexError):
            states.add(_read_fields(thread)[0])
    return states


def read_cpu_s(process: int) -> float:
    """Return the processor time of a process, in all its threads; 0 if it cannot be read."""
    return _read_times(Path(f"/proc/{process}/stat"))


def _read_loop_cpu_s(process: int) -> float:
    """Return the processor time of the main thread alone: others may well compute. NaN if it is unknown."""
    return _read_times(Path(f"/proc/{process}/task/{process}/stat"), unknown=math.nan)


def _read_times(file: Path, unknown: float = 0.0) -> float:
    try:
        fields = _read_fields(file)
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    except (OSError, IndexError, ValueError):
        return unknown


def _read_fields(file: Path) -> list[str]:
    """Return the fields of a stat file from the state on: the name before it may hold anything."""
    return file.read_text().rpartition(")")[2].split()
