"""Two teachers, of which the first is killed, stalled, limited, half broken or slow, and well again.

`python -m loadtests.teachers [FAULT ...]` prints one line per fault: what clients saw, what was added to
their latency once the circuit was open, how often each teacher was asked per request, and how long after
its recovery the first answered again. A quarter of the requests are streams. A silent teacher is suspected
after 1 s (10 s by default), so that the requests that find it stalled end within the test.

`python -m loadtests.teachers capacity` asks for four times what one teacher can do; see
support/teacher_capacity.py.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loadtests.support.teacher_capacity import run_capacity
from loadtests.support.teacher_clients import Traffic, p99_ms
from tests.support.faulty_teacher import FaultyTeacher, Mode, faulty_teacher, teachers_file
from tests.support.processes import RunningGateway, gateway_process

FAULTS: tuple[Mode, ...] = ("killed", "stalled", "limited", "half broken", "slow")
CLIENTS = 16
PAUSE_S = 0.05
SUSPECT_AFTER_S = 1.0
CALM_S, FAULT_S, LONGEST_RECOVERY_S = 4.0, 10.0, 30.0
MOST_AMPLIFICATION, MOST_ADDED_MS, MOST_RECOVERY_S = 1.12, 50.0, 10.0


@contextmanager
def _gateway(first: FaultyTeacher, second: FaultyTeacher) -> Iterator[RunningGateway]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stepdown.toml"
        file.write_text(teachers_file(first, second, suspect_after_s=SUSPECT_AFTER_S))
        with gateway_process(
            Path(folder) / "home",
            "--open",
            STEPDOWN_CONFIG=str(file),
            STEPDOWN_LEARN_ENABLED="false",
        ) as gateway:
            yield gateway


async def _until_open(gateway: RunningGateway, within_s: float) -> float | None:
    """Return when the circuit of the first teacher was seen open; None if it stayed closed."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        status = await asyncio.to_thread(gateway.status)
        if status["teachers"][0]["circuit"] != "closed":
            return time.monotonic()
        await asyncio.sleep(0.1)
    return None


async def _run(fault: Mode) -> bool:
    with faulty_teacher() as first, faulty_teacher() as second, _gateway(first, second) as gateway:
        traffic = Traffic(gateway.port, CLIENTS, pause_s=PAUSE_S, streamed_every=4)
        # The first requests open connections.
        await asyncio.sleep(1)
        calm = time.monotonic()
        await asyncio.sleep(CALM_S)
        first.posts = second.posts = 0
        broken = time.monotonic()
        first.become(fault)
        opened = await _until_open(gateway, FAULT_S)
        await asyncio.sleep(max(0.0, broken + FAULT_S - time.monotonic()))
        recovered = time.monotonic()
        posts = first.posts, second.posts
        first.become("well")
        back_s = await _seconds_until_back(traffic, recovered)
        await traffic.stop()
    run = Run(fault, traffic, calm, broken, opened, recovered, posts, back_s)
    return run.report()


async def _seconds_until_back(traffic: Traffic, recovered: float) -> float:
    while time.monotonic() - recovered < LONGEST_RECOVERY_S:
        latest = [each for each in traffic.seen[-4 * CLIENTS :] if each.begun > recovered]
        if len(latest) >= CLIENTS and all(each.served_by == "first" for each in latest[-CLIENTS:]):
            return min(each.begun for each in latest[-CLIENTS:]) - recovered
        await asyncio.sleep(0.05)
    return LONGEST_RECOVERY_S


class Run(msgspec.Struct, frozen=True):
    """One fault, with the times of its stages."""

    fault: Mode
    traffic: Traffic
    calm: float
    broken: float
    opened: float | None
    recovered: float
    posts: tuple[int, int]
    back_s: float

    def report(self) -> bool:
        """Print how it went; return whether every bar holds."""
        during = self.traffic.between(self.broken - SUSPECT_AFTER_S, time.monotonic())
        ends = [each.end for each in during]
        errors, cut = len([end for end in ends if end not in ("ok", "cut")]), ends.count("cut")
        # A stream may be cut only if it had begun when the teacher broke.
        late_cuts = [each for each in during if each.end == "cut" and each.begun > self.broken]
        asked = len(self.traffic.between(self.broken, self.recovered))
        factors = [count / asked for count in self.posts]
        before_ms, open_ms = self._p99s()
        is_kept = (
            errors == 0
            and not late_cuts
            and open_ms - before_ms <= MOST_ADDED_MS
            and max(factors) <= MOST_AMPLIFICATION
            and self.back_s <= MOST_RECOVERY_S
        )
        opened = (
            "never open"
            if self.opened is None
            else (
                f"open after {self.opened - self.broken:.1f} s, p99 {before_ms:.0f} ms then {open_ms:.0f} ms"
            )
        )
        print(
            f"{self.fault:12} {asked} requests, {errors} errors, {cut} streams cut, {opened}, "
            f"asked first {factors[0]:.2f}x second {factors[1]:.2f}x, back after {self.back_s:.1f} s"
            f"{'' if is_kept else '   MISSED'}",
            flush=True,
        )
        return is_kept

    def _p99s(self) -> tuple[float, float]:
        """Return the p99 in milliseconds before the fault, and while the circuit was open."""
        before = p99_ms(self.traffic.between(self.calm, self.broken))
        if self.opened is None:
            return before, before
        return before, p99_ms(self.traffic.between(self.opened, self.recovered))


def main() -> int:
    """Run the named faults, or all; return 1 if a bar was missed."""
    known = (*FAULTS, "capacity")
    parser = argparse.ArgumentParser(prog="loadtests.teachers", description=__doc__.partition("\n")[0])
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"{', '.join(known)} (all)")
    names = parser.parse_args().faults
    if unknown := set(names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    chosen = [fault for fault in FAULTS if not names or fault in names]
    kept = [asyncio.run(_run(fault)) for fault in chosen]
    if not names or "capacity" in names:
        kept.append(asyncio.run(run_capacity()))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
