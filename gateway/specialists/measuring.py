"""What a version takes, measured in a process of its own: time, CPU and memory of its drafts alone."""

from __future__ import annotations

import contextlib
import logging
import math
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.core import DraftRequest, Footprint
from gateway.errors import SpecialistError
from gateway.ipc.child_process import exit_with_parent, start_module
from gateway.ipc.heartbeat import read_cpu_s
from gateway.specialists.base import NullListener, Runtime
from gateway.specialists.remote.config import EngineConfig

logger = logging.getLogger(__name__)

TEXTS = 64
"""How many texts are drafted for."""
TRIES = 3
"""The quickest counts: the others waited for a core that something else had."""
REMOTE_TEXTS = 16
"""The same, each once, where another process drafts: it may have other work, and takes longer."""
LONGEST_S = 10.0
"""After so long no further text is begun; a decoder drafts about one a second."""
GIVEN_UP_S = 120.0
_PROC = Path("/proc")


class MeasuredVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured: a version's files, and all that a model host would be started with."""

    runtime: str
    folder: str
    texts: Sequence[str]
    encoder: str
    encoder_options: dict[str, Any]
    models: str
    memory_mb: int
    engines: dict[str, EngineConfig] = {}


def measure_footprint(measured: MeasuredVersion) -> Footprint | None:
    """Return what a version takes, from a process started for that; None, and a warning, if it failed."""
    child = start_module(__name__, [], stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    giving_up = threading.Timer(GIVEN_UP_S, child.kill)
    giving_up.start()
    try:
        # One line: its stdin stays open until this process ends, and then it does, too.
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(msgspec.json.encode(measured) + b"\n")
            child.stdin.flush()
        return msgspec.json.decode(child.stdout.read(), type=Footprint)
    except msgspec.DecodeError:
        logger.warning("what the version takes could not be measured")
        return None
    finally:
        giving_up.cancel()
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def main() -> None:
    """Read a MeasuredVersion from the first line of stdin, write its Footprint to stdout."""
    from gateway.specialists.learnt import read_learnt_texts  # numpy: as below

    measured = msgspec.json.decode(sys.stdin.buffer.readline(), type=MeasuredVersion)
    exit_with_parent()
    texts = mix_texts(measured.texts[:TEXTS], read_learnt_texts(Path(measured.folder)).__contains__)
    with _open_runtime(measured) as (runtime, begun):
        with contextlib.suppress(SpecialistError):
            runtime.draft(DraftRequest(text=texts[0]), NullListener())
        load_ms = (time.perf_counter() - begun) * 1000
        cpu_s, times = _draft_all(runtime, texts)
        if not times:
            sys.exit("the version has drafted for none of the texts")
        footprint = Footprint(
            p50_ms=_quantile(times, 0.5) * 1000,
            p99_ms=_quantile(times, 0.99) * 1000,
            cpu_ms=cpu_s * 1000,
            load_ms=load_ms,
            memory_mb=sum(map(_peak_mb, ["self", *_children()])),
        )
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        sys.stdout.buffer.write(msgspec.json.encode(footprint))
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _open_runtime(measured: MeasuredVersion) -> Iterator[tuple[Runtime, float]]:
    """Give the runtime at work and when its loading began: once the encoder was warm."""
    # Not at the top: the process that asks for a measurement needs none of this.
    from gateway.specialists.encoders import create_encoder
    from gateway.specialists.engine.pool import EnginePool
    from gateway.specialists.remote.pool import RemoteEngines
    from gateway.specialists.runtimes import open_runtime
    from gateway.specialists.shared_resources import SharedResources

    encoder = create_encoder(measured.encoder, msgspec.json.encode(measured.encoder_options))
    encoder.encode("warm")  # not a lesson, which may be too long for it
    engines = EnginePool(Path(measured.models), measured.memory_mb)
    begun = time.perf_counter()
    resources = SharedResources(encoder, engines, RemoteEngines(measured.engines))
    runtime = open_runtime(measured.runtime, Path(measured.folder), resources)
    try:
        yield runtime, begun
    finally:
        runtime.close()
        engines.close()


def _draft_all(runtime: Runtime, texts: Sequence[str]) -> tuple[float, list[float]]:
    """Return the CPU seconds of a draft, and the wall seconds of the quickest for each text."""
    ends_at = time.monotonic() + LONGEST_S
    best: dict[str, float] = {}
    drafts, cpu_s = 0, _cpu_s()
    for text in texts[:REMOTE_TEXTS] if runtime.is_remote else [*texts] * TRIES:
        if drafts and time.monotonic() > ends_at:
            break
        begun = time.perf_counter()
        with contextlib.suppress(SpecialistError):  # too long for it: the teacher answers
            runtime.draft(DraftRequest(text=text), NullListener())
            best[text] = min(best.get(text, math.inf), time.perf_counter() - begun)
        drafts += 1
    return (_cpu_s() - cpu_s) / max(1, drafts), sorted(best.values())


def mix_texts(lessons: Sequence[str], is_learnt: Callable[[str], bool] = lambda _: False) -> list[str]:
    """Return texts as long as `lessons` that no version has learnt: halves of one and of the next.

    What was learnt may be answered without drafting, what is like it by a first stage alone. Halves of
    "play jazz" and "play rock" are a lesson: such a text has its words the other way round.
    """
    words = [lesson.split(" ") for lesson in lessons]
    mixed = [
        [*one[: (len(one) + 1) // 2], *other[len(other) // 2 :]]
        for one, other in zip(words, [*words[1:], *words[:1]], strict=True)
    ]
    return [" ".join(each[::-1] if is_learnt(" ".join(each)) else each) for each in mixed]


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _children() -> list[str]:
    """Return the processes that this one has started: the engine of a decoder."""
    found = (_PROC / "self" / "task").glob("*/children")
    return [pid for each in found for pid in each.read_text().split()]


def _peak_mb(pid: str) -> float:
    """Return the most memory that a process has had, without what it had before it became this program."""
    with contextlib.suppress(OSError):
        for line in (_PROC / pid / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    # No /proc: macOS, which counts in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 if pid == "self" else 0.0


def _cpu_s() -> float:
    """Return the CPU seconds of this process and those that it has started."""
    return time.process_time() + sum(read_cpu_s(int(pid)) for pid in _children())


if __name__ == "__main__":
    main()
