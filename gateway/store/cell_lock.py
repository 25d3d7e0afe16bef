"""Locks between threads and processes that no killed process keeps, and no stopped one for long."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
import threading
import time

# A lock is held for a microsecond, but a busy machine may take the core from its holder for a while: 20 ms
# of patience lost one count of 9,000 there. A worker that is stopped inside its lock must not stop the others
# for long: they go on without it, and at worst a count is lost.
LOCK_PATIENCE_S = 0.25
# Once a holder has used up that patience, until the lock has been free again.
STUCK_PATIENCE_S = 0.001
# Linux: struct flock with a lock of the open file, so that closing the same file elsewhere does not free it.
# Elsewhere: macOS has its own order of the fields, and locks of the process.
_IS_LINUX = sys.platform == "linux"
_FLOCK = struct.Struct("@hhqqi4x" if _IS_LINUX else "@qqihh")
_LOCK_COMMAND = fcntl.F_OFD_SETLK if _IS_LINUX else fcntl.F_SETLK


class CellLock:
    """Keeps other threads and processes out of a block; the kernel frees it when its process dies."""

    __slots__ = ("_file", "_free", "_is_locked", "_is_stuck", "_take", "_thread_lock")

    def __init__(self, thread_lock: threading.Lock, file: int | None, number: int) -> None:
        self._thread_lock = thread_lock
        self._file = file
        # Made once: it takes a third of the time of the system call.
        self._take = _pack_lock(fcntl.F_WRLCK, number)
        self._free = _pack_lock(fcntl.F_UNLCK, number)
        self._is_locked = False
        self._is_stuck = False

    def __enter__(self) -> None:
        self._thread_lock.acquire()
        if self._file is None:
            return
        self._is_locked = self._try_file(self._take) or self._wait_for_file()
        self._is_stuck = not self._is_locked

    def __exit__(self, *_: object) -> None:
        if self._is_locked:
            self._is_locked = False
            self._try_file(self._free)
        self._thread_lock.release()

    def _wait_for_file(self) -> bool:
        give_up_at = time.monotonic() + (STUCK_PATIENCE_S if self._is_stuck else LOCK_PATIENCE_S)
        while time.monotonic() < give_up_at:
            os.sched_yield()
            if self._try_file(self._take):
                return True
        return False

    def _try_file(self, request: bytes) -> bool:
        assert self._file is not None
        try:
            fcntl.fcntl(self._file, _LOCK_COMMAND, request)
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return False
        return True


def _pack_lock(kind: int, number: int) -> bytes:
    # Bytes of the file that are locked need not exist: numbers may lie behind its end.
    if _IS_LINUX:
        return _FLOCK.pack(kind, os.SEEK_SET, number, 1, 0)
    return _FLOCK.pack(number, 1, 0, kind, os.SEEK_SET)
