"""The sums of all workers of a machine, kept where no full disk can reach them and no crash ends them.

Each worker writes what it has counted into a memory file of its own. The supervisor holds all of them,
so they outlive every worker. They are written and read, never mapped: a page that finds no room would
end the process that touches it (SIGBUS), and so it did while these sums lay in files on the disk.
"""

from __future__ import annotations

import logging
import math
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from prometheus_client import Metric

logger = logging.getLogger(__name__)

LONGEST_SNAPSHOT_BYTES = 32 << 20
_HEADER = struct.Struct("=QII")
"""Number, length and checksum of the snapshot that follows."""
_PLACES = (0, LONGEST_SNAPSHOT_BYTES)
"""Two, written in turns: one is whole when a worker is killed while it writes the other."""
_STAMP = struct.Struct("=d")
"""Until when the sums hold what was counted, in monotonic seconds; behind the two places."""
_STAMP_PLACE = 2 * LONGEST_SNAPSHOT_BYTES
LOOK_S = 0.02

Labels = tuple[tuple[str, str], ...]


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric with its samples: name, labels, value."""

    name: str
    text: str
    kind: str
    samples: list[tuple[str, Labels, float]]


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The sums of one worker, over all of its lives, since `since` (unix seconds)."""

    process: int
    since: float
    families: list[Family]


_decoder = msgspec.msgpack.Decoder(Snapshot)


def create_sum_files(count: int, folder: Path) -> list[int]:
    """Return the descriptors of `count` empty files in memory, for the workers to inherit.

    Where the system has no such files, they are nameless ones in `folder`. Raises OSError.
    """
    return [_create_file(folder) for _ in range(count)]


class SumFiles:
    """What all workers have counted; `files` are the descriptors from `create_sum_files`."""

    def __init__(self, files: Sequence[int]) -> None:
        self._files = files

    def add_all(self) -> list[Metric]:
        """Return the sums over all workers; gauges only of those that run."""
        return add_families([_living(snapshot) for snapshot in self._read_all()])

    def counting_since(self) -> float:
        """Return when the first of all workers began to count, in unix seconds."""
        return min((snapshot.since for snapshot in self._read_all()), default=time.time())

    def read_ages(self, now: float) -> list[float]:
        """Return how long each worker that runs has shown nothing, in seconds; `now` is monotonic."""
        stamps = [_read_stamp(file) for file in self._files if _runs(file)]
        # The supervisor's stamp is without end: it shows what changes at once.
        return [max(0.0, now - stamp) for stamp in stamps if math.isfinite(stamp)]

    def wait_until_newer(self, moment: float, limit_s: float) -> None:
        """Wait until every worker that runs has shown its sums after `moment`, in monotonic seconds.

        Blocks. One that shows nothing for `limit_s` is waited for no longer.
        """
        give_up_at = time.monotonic() + limit_s
        for file in self._files:
            while _is_behind(file, moment) and time.monotonic() < give_up_at:
                time.sleep(LOOK_S)

    def _read_all(self) -> list[Snapshot]:
        return [snapshot for file in self._files if (snapshot := _read_newest(file)[1])]


class SharedSums(SumFiles):
    """What this worker has counted, for the others to read, and what they have.

    `own` is the place of this worker's file.
    """

    def __init__(self, files: Sequence[int], own: int) -> None:
        super().__init__(files)
        self.dropped = 0
        """Snapshots that could not be written; the next one that can holds all that they held."""
        self._own = files[own]
        self._number, before = _read_newest(self._own)
        self.since = before.since if before else time.time()
        self._before = [one for one in before.families if one.kind != "gauge"] if before else []
        self._written = b""

    def publish(self, metrics: Iterable[Metric], as_of: float | None = None) -> None:
        """Let the others see `metrics`, added to what earlier lives of this worker have counted.

        They hold what was counted until `as_of`, in monotonic seconds; now if it is None.
        """
        as_of = time.monotonic() if as_of is None else as_of
        own = [_to_family(metric) for metric in metrics]
        families = [_to_family(metric) for metric in add_families([self._before, own])]
        payload = msgspec.msgpack.encode(Snapshot(os.getpid(), self.since, families))
        if payload == self._written:
            return self._stamp(as_of)
        if len(payload) > LONGEST_SNAPSHOT_BYTES - _HEADER.size:
            self.dropped += 1
            return None
        self._number += 1
        header = _HEADER.pack(self._number, len(payload), zlib.crc32(payload))
        try:
            os.pwrite(self._own, header + payload, _PLACES[self._number % 2])
        except OSError:
            self.dropped += 1
            return None
        self._written = payload
        return self._stamp(as_of)

    def counting_since(self) -> float:
        """Return when the first of all workers began to count, in unix seconds."""
        return min(self.since, super().counting_since())

    def _stamp(self, as_of: float) -> None:
        with suppress(OSError):
            os.pwrite(self._own, _STAMP.pack(as_of), _STAMP_PLACE)


def add_families(groups: Iterable[Iterable[Family]]) -> list[Metric]:
    """Return one metric of each name, its samples summed by name and labels."""
    facts: dict[str, Family] = {}
    sums: dict[str, dict[tuple[str, Labels], float]] = {}
    for family in (family for group in groups for family in group):
        facts.setdefault(family.name, family)
        samples = sums.setdefault(family.name, {})
        for name, labels, value in family.samples:
            samples[name, labels] = samples.get((name, labels), 0.0) + value
    return [_to_metric(facts[name], samples) for name, samples in sums.items()]


def _to_metric(family: Family, samples: dict[tuple[str, Labels], float]) -> Metric:
    metric = Metric(family.name, family.text, family.kind)
    for (name, labels), value in samples.items():
        metric.add_sample(name, dict(labels), value)
    return metric


def _to_family(metric: Metric) -> Family:
    # The time at which a process made its own counter says nothing of the sum.
    samples = [
        (sample.name, tuple(sample.labels.items()), float(sample.value))
        for sample in metric.samples
        if not sample.name.endswith("_created")
    ]
    return Family(metric.name, metric.documentation, metric.type, samples)


def _living(snapshot: Snapshot) -> list[Family]:
    """Return the families that still hold: nothing waits any more in a process that has ended."""
    if _is_running(snapshot.process):
        return snapshot.families
    return [family for family in snapshot.families if family.kind != "gauge"]


def _is_behind(file: int, moment: float) -> bool:
    """Whether the worker of that file runs, and has shown nothing after `moment`."""
    return _read_stamp(file) < moment and _runs(file)


def _read_stamp(file: int) -> float:
    """Return until when the sums of that file hold, in monotonic seconds; without end if it is not known."""
    try:
        return float(_STAMP.unpack(os.pread(file, _STAMP.size, _STAMP_PLACE))[0])
    except (OSError, struct.error):
        return math.inf


def _runs(file: int) -> bool:
    _, snapshot = _read_newest(file)
    return snapshot is not None and _is_running(snapshot.process)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _read_newest(file: int) -> tuple[int, Snapshot | None]:
    """Return the number of the newest whole snapshot and the snapshot; 0 and None if there is none."""
    found = [one for place in _PLACES if (one := _read_place(file, place))]
    number, payload = max(found, default=(0, b""))
    return number, _decoder.decode(payload) if payload else None


def _read_place(file: int, place: int) -> tuple[int, bytes] | None:
    try:
        number, length, checksum = _HEADER.unpack(os.pread(file, _HEADER.size, place))
        payload = os.pread(file, length, place + _HEADER.size)
    except (OSError, struct.error):
        return None
    is_whole = number > 0 and len(payload) == length and zlib.crc32(payload) == checksum
    return (number, payload) if is_whole else None


def _create_file(folder: Path) -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("stepdown-sums")
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())
