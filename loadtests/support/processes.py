"""Reads a process from Linux's /proc: its children, its CPU time, its memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def child_named(parent: int, module: str) -> int:
    """Return the child of `parent` that runs `python -m module`. Raises LookupError without one."""
    for child in (_PROC / f"{parent}/task/{parent}/children").read_text().split():
        if module in (_PROC / child / "cmdline").read_text().split("\0"):
            return int(child)
    raise LookupError(f"process {parent} has no child {module}")


def process_tree(root: int) -> list[int]:
    """Return the process `root` and all its descendants, without those that end during the call."""
    found = [root]
    for pid in found:
        # A child belongs to the thread that started it.
        for thread in (_PROC / f"{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, thread.read_text().split())
    return found


def command_line(pid: int) -> str:
    """Return the command line of a process."""
    return (_PROC / f"{pid}/cmdline").read_text().replace("\0", " ")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds, user and system, of all threads of a process."""
    # The name, in parentheses, may hold spaces: fields are counted after it.
    fields = (_PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def thread_times_s(root: int) -> dict[int, float]:
    """Return the exact CPU seconds of every living thread of a process and its descendants, by thread id.

    Other than `cpu_s`, which counts the ticks at which a thread was seen: on a busy machine it sees
    short bursts too often or never.
    """
    spent = {}
    for pid in process_tree(root):
        for thread in (_PROC / f"{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                spent[int(thread.name)] = int((thread / "schedstat").read_text().split()[0]) / 1e9
    return spent


def waited_s(pid: int) -> float:
    """Return the seconds in which a process' main thread was ready to run while no core was free."""
    return int((_PROC / f"{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9


def idle_s() -> float:
    """Return the seconds for which the cores of this process had nothing to do, all together."""
    cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    lines = (line.split() for line in (_PROC / "stat").read_text().splitlines())
    # After the name: user, nice, system, idle, waiting for a disk.
    return sum(int(line[4]) + int(line[5]) for line in lines if line[0] in cores) / _TICKS_PER_S


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (10**6 bytes)."""
    return int((_PROC / f"{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6


def peak_rss_mb(pid: int) -> float:
    """Return the most memory that a process had resident at once so far, in MB (10**6 bytes)."""
    lines = (_PROC / f"{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1_024 / 1e6
