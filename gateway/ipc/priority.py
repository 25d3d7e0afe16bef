"""The priority of a process that must not slow down the others of the gateway."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")


def lower_priority(niceness: int) -> None:
    """Put this process so far behind the others, also behind those of other sessions if it has its own.

    Linux may share the processor between sessions first (sched_autogroup, on unless a control group does
    it): niceness then only counts among the processes of one session, and each child of ours has its own.
    """
    os.nice(niceness)
    if os.getsid(0) != os.getpid():
        # Others are in this session, which are not ours to slow down.
        return
    with suppress(OSError):
        # Missing where the kernel has no such groups; write-protected in some containers.
        _AUTOGROUP.write_text(str(niceness))
