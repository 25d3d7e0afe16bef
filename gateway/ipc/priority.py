"""The order in which processes of the gateway get the processor: what serves first, what trains last."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

LAST = 19
"""The niceness of what computes for long at a time. With 16 drafts of a decoder always in work the p99 of
proxied requests was 1.7 times that of an idle host, and 2.3 times at 10."""

_SLICE_NS = 100_000
"""The shortest that Linux takes."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
"""The number of the system call, for which Python has no function."""


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
