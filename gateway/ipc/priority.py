"""How a process of the gateway stands among those that want the same core."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")
_TRIES, _PAUSE_S = 5, 0.1
"""The kernel lets one process without privileges change its session in 0.1 s."""
_SLICE_NS = 100_000
"""The shortest that Linux takes."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
"""The number of the system call, for which Python has no function."""


def lower_priority(niceness: int) -> None:
    """Put this process so far behind the others, also behind those of other sessions if it has its own.

    Linux may share the processor between sessions first (sched_autogroup, on unless a control group does
    it): niceness then only counts among the processes of one session, and each child of ours has its own.
    """
    os.nice(niceness)
    if os.getsid(0) != os.getpid():
        # Others are in this session, which are not ours to slow down.
        return
    # Missing where the kernel has no such groups; write-protected in some containers.
    with suppress(OSError):
        for _ in range(_TRIES):
            try:
                _AUTOGROUP.write_text(str(niceness))
            except BlockingIOError:
                time.sleep(_PAUSE_S)
            else:
                return


def wake_at_once() -> None:
    """Let this process take the processor when it wakes, also in the middle of another's slice of time.

    Since Linux 6.6 what computes keeps the processor to the end of its slice, some 3 ms, even against a
    higher priority; since 6.12 a process that asks for shorter slices need not wait for that. It gets no
    larger share. Call it before threads are started: they inherit it.
    """
    number = _SCHED_SETATTR.get(os.uname().machine)
    if sys.platform != "linux" or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    # struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period.
    attributes = struct.pack("IIQiIQQQ", 48, os.SCHED_OTHER, 0, niceness, 0, _SLICE_NS, 0, 0)
    # Where the kernel refuses it, things stay as they are.
    ctypes.CDLL(None).syscall(ctypes.c_long(number), 0, attributes, 0)
