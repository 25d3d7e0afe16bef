"""The order in which processes get the processor, as the kernel sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOWER = """
import os
from pathlib import Path
from gateway.ipc.priority import lower_priority

lower_priority(7)
print(os.getpriority(os.PRIO_PROCESS, 0), Path("/proc/self/autogroup").read_text().split()[-1])
"""

WAKE = """
import ctypes, os, struct, threading
from gateway.ipc.priority import wake_at_once

os.nice(3)
wake_at_once()
GETATTR = {"x86_64": 315}.get(os.uname().machine, 275)

def show():
    attributes = ctypes.create_string_buffer(48)
    ctypes.CDLL(None).syscall(ctypes.c_long(GETATTR), 0, attributes, 48, 0)
    _, _, _, niceness, _, slice_ns, _, _ = struct.unpack("IIQiIQQQ", attributes.raw)
    print(niceness, slice_ns)

show()
thread = threading.Thread(target=show)
thread.start()
thread.join()
"""


def run(program: str) -> list[int]:
    """Run `program` in a session of its own; return the numbers that it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", program], start_new_session=True, capture_output=True, text=True, check=True
    )
    return [int(word) for word in ran.stdout.split()]


def kernel_takes_slices() -> bool:
    """Return whether this is Linux 6.12 or later."""
    return sys.platform == "linux" and tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel groups no sessions")
def test_a_session_of_its_own_is_lowered_as_a_whole() -> None:
    """Niceness alone counts for nothing between two sessions."""
    own, session = run(LOWER)

    assert session == 7
    assert own >= 7


@pytest.mark.skipif(not kernel_takes_slices(), reason="this kernel takes no slices")
def test_who_wakes_at_once_keeps_its_niceness_and_threads_inherit_it() -> None:
    expected = [min(os.getpriority(os.PRIO_PROCESS, 0) + 3, 19), 100_000]

    assert run(WAKE) == expected * 2
