"""Numbers that all workers of a machine count together: a file of fixed size, mapped into each of them.

A name has one cell. A cell holds a shared value with a stamp, changed under a lock, and a number per
worker that only that worker changes and that is cleared when it starts: a killed worker leaves neither a
lock nor a count behind.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import struct
import threading
from hashlib import blake2b
from pathlib import Path

from gateway.errors import ConfigError
from gateway.store.cell_lock import CellLock

logger = logging.getLogger(__name__)

CELLS = 1 << 15
"""Names that one file has room for; a key with every limit needs five."""

_MAGIC = b"stepdown counters 1\0\0\0\0\0"
_HEADER = struct.Struct("=24sQQ")
_HEADER_BYTES = 64
_WORD = 8
_NAMES, _VALUES, _STAMPS, _WORKERS = 0, 2, 3, 4
"""The first column of each kind, counted in words per cell."""


def create_counters(path: Path, workers: int) -> None:
    """Make the file for `workers` workers, with the values of the old file if that is whole.

    All of its space is taken now: with holes, a disk that fills later would kill the process that
    touches one (SIGBUS). Raises ConfigError if the disk has no room for it.
    """
    old = _read_shared(path)
    if old is not None and old[0] == workers:
        return
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        scratch.touch(mode=0o600)
        with scratch.open("wb") as file:
            _allocate(file.fileno(), _size(workers))
            file.write(_HEADER.pack(_MAGIC, workers, CELLS))
            if old is not None:
                file.seek(_HEADER_BYTES)
                file.write(old[1])
        scratch.replace(path)
    except OSError as exc:
        scratch.unlink(missing_ok=True)
        raise ConfigError(f"{path}: the workers' counters cannot be made: {exc.strerror}") from exc


class Counters:
    """The cells of one file, for the worker `number`; without a usable file, cells of this process alone.

    Without a number it only reads. Safe for any number of threads and processes; not usable after `close`.
    """

    def __init__(self, path: Path | None, number: int | None = 0) -> None:
        self._file, self.workers = _open_file(path, number or 0)
        self.is_shared = self._file is not None
        self.column = (number or 0) if self.is_shared else 0
        self._is_reader = number is None
        self.thread_lock = threading.Lock()
        self._known: dict[str, Cell] = {}
        self._map = mmap.mmap(-1 if self._file is None else self._file, _size(self.workers))
        self.floats = memoryview(self._map)[_HEADER_BYTES:].cast("d")
        self._hashes = memoryview(self._map)[_HEADER_BYTES:].cast("Q")
        self._clear_own()

    def cell(self, name: str) -> Cell:
        """Return the cell of `name`, the same for all workers; made at first use.

        When every cell is taken, it is one of this process alone.
        """
        known = self._known.get(name)
        return known if known is not None else self._known.setdefault(name, self._find_cell(name))

    def lock(self, number: int) -> CellLock:
        """Return the lock of that number, the same for all workers."""
        return CellLock(self.thread_lock, self._file, number)

    def close(self) -> None:
        """Clear this worker's numbers and unmap the file."""
        self._clear_own()
        self._known.clear()
        self.floats.release()
        self._hashes.release()
        # A view that is still in use keeps the mapping alive until it goes.
        with contextlib.suppress(BufferError):
            self._map.close()
        if self._file is not None:
            os.close(self._file)

    def _clear_own(self) -> None:
        if self._is_reader:
            return
        first = (_WORKERS + self.column) * CELLS
        self.floats[first : first + CELLS] = memoryview(bytes(CELLS * _WORD)).cast("d")

    def _find_cell(self, name: str) -> Cell:
        low, high = struct.unpack("=QQ", blake2b(name.encode(), digest_size=16).digest())
        low |= 1  # a free place holds 0
        with self.lock(CELLS):
            index = self._claim_place(low, high)
        if index is None:
            if not self._is_reader:
                logger.error("no room for the counter of %r: it counts in each worker alone", name)
            return Counters(None).cell(name)
        return Cell(self, index)

    def _claim_place(self, low: int, high: int) -> int | None:
        hashes = self._hashes
        for step in range(CELLS):
            index = (low + step) % CELLS
            if hashes[index] == low and hashes[CELLS + index] == high:
                return index
            if not hashes[index]:
                if self._is_reader:
                    return None
                hashes[CELLS + index], hashes[index] = high, low
                return index
        return None


class Cell:
    """One name's numbers, to be changed inside `lock` only; cells changed together may share one's lock.

    `own` may be changed without it if one thread alone does so.
    """

    __slots__ = ("_columns", "_floats", "_own", "_stamp", "_value", "lock")

    def __init__(self, counters: Counters, index: int) -> None:
        self.lock = counters.lock(index)
        self._floats = counters.floats
        self._value = _VALUES * CELLS + index
        self._stamp = _STAMPS * CELLS + index
        self._own = (_WORKERS + counters.column) * CELLS + index
        self._columns = [(_WORKERS + worker) * CELLS + index for worker in range(counters.workers)]

    @property
    def value(self) -> float:
        """The number that all workers share."""
        return self._floats[self._value]

    @value.setter
    def value(self, value: float) -> None:
        self._floats[self._value] = value

    @property
    def stamp(self) -> float:
        """The time or the period that `value` is of."""
        return self._floats[self._stamp]

    @stamp.setter
    def stamp(self, stamp: float) -> None:
        self._floats[self._stamp] = stamp

    @property
    def own(self) -> float:
        """This worker's number."""
        return self._floats[self._own]

    @own.setter
    def own(self, own: float) -> None:
        self._floats[self._own] = own

    @property
    def total(self) -> float:
        """The sum of the workers' numbers."""
        floats = self._floats
        return sum([floats[column] for column in self._columns])


def _size(workers: int) -> int:
    return _HEADER_BYTES + (_WORKERS + workers) * CELLS * _WORD


def _allocate(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    for _ in range(0, size, mmap.PAGESIZE):
        os.write(file, bytes(mmap.PAGESIZE))
    os.lseek(file, 0, os.SEEK_SET)
    os.ftruncate(file, size)


def _read_workers(file: int) -> int:
    """Return for how many workers the file is; 0 if it is damaged or of another layout."""
    head = os.pread(file, _HEADER.size, 0)
    if len(head) != _HEADER.size:
        return 0
    magic, workers, cells = _HEADER.unpack(head)
    is_whole = magic == _MAGIC and cells == CELLS and os.fstat(file).st_size == _size(workers)
    return int(workers) if is_whole else 0


def _read_shared(path: Path) -> tuple[int, bytes] | None:
    """Return the number of workers and the shared columns of the file; None if there is no whole one."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        if not (workers := _read_workers(file)):
            logger.warning("%s is damaged or of another version and is made anew", path)
            return None
        if hasattr(os, "posix_fallocate"):
            # A copy may have left holes.
            os.posix_fallocate(file, 0, _size(workers))
        return workers, os.pread(file, _WORKERS * CELLS * _WORD, _HEADER_BYTES)
    except OSError:
        return None
    finally:
        os.close(file)


def _open_file(path: Path | None, number: int) -> tuple[int | None, int]:
    """Return the open file and its number of workers; no file if it cannot be used."""
    if path is None:
        return None, 1
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as exc:
        logger.error("%s: limits are counted in each worker alone: %s", path, exc.strerror)
        return None, 1
    workers = _read_workers(file)
    if number < workers:
        return file, workers
    logger.error("%s is damaged: limits are counted in each worker alone until the next start", path)
    os.close(file)
    return None, 1
