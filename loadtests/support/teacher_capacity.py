"""A teacher that is asked for four times what it can do, with and without limits on its calls at once.

It has eight answers under way, which take 50 ms each, and refuses what comes beside them with 429. Each line
tells how much of what it can do reached clients, what they saw instead, the p99 of the answers, how often
the teacher was asked for each, and the answers of the client that got fewest and of the one that got most.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

import msgspec

from loadtests.support.teacher_clients import Seen, Traffic, p99_ms
from tests.support.faulty_teacher import SMALL_CAPACITY, SMALL_TAKES_S, FaultyTeacher, faulty_teacher
from tests.support.processes import gateway_process

CLIENTS = 4 * SMALL_CAPACITY
WARM_UP_S, MEASURED_S = 3.0, 8.0
DEADLINE_S = 0.1
# With a second teacher clients are not held back by the first one's answers.
PAUSE_WITH_SECOND_S = 0.1
SHED, BUSY = "503 overloaded", "503 teacher_busy"
LEAST_GOODPUT, MOST_REFUSED, MOST_OVER_DEADLINE_S = 0.85, 0.01, 0.05
KNOWN = f"max_in_flight = {SMALL_CAPACITY}"
ADAPTIVE = "adapts_in_flight = true"
HURRIED = f"{ADAPTIVE}\nqueue_timeout_s = {DEADLINE_S}"


class Measured(msgspec.Struct, frozen=True):
    """What clients saw in one run."""

    label: str
    seen: list[Seen]
    posts: int
    took_s: float

    @property
    def good(self) -> list[Seen]:
        """The requests that were answered."""
        return [each for each in self.seen if each.end == "ok"]

    @property
    def goodput(self) -> float:
        """Answers per second, where the teacher's own limit is 1."""
        return len(self.good) / self.took_s / (SMALL_CAPACITY / SMALL_TAKES_S)

    @property
    def refused(self) -> float:
        """The share of requests that were not answered, but for those that found no CPU in the gateway."""
        return len([each for each in self.seen if each.end not in ("ok", SHED)]) / len(self.seen)

    def describe(self) -> str:
        """Return one line."""
        ends = Counter(each.end for each in self.seen if each.end != "ok")
        by_client = Counter(each.client for each in self.good)
        return (
            f"{self.label:48} {len(self.good)} answers, goodput {self.goodput:.2f}, "
            f"{dict(ends) or 'no errors'}, p99 {p99_ms(self.good):.0f} ms, "
            f"asked {self.posts / max(1, len(self.good)):.2f}x, "
            f"{min(by_client.values())}-{max(by_client.values())} a client"
        )


async def run_capacity() -> bool:
    """Print a line for each setting; return whether the bars hold for those that adapt."""
    runs = {name: await _measure(name) for name in ("", KNOWN, ADAPTIVE, HURRIED)}
    runs["two"] = await _measure(ADAPTIVE, has_second=True)
    adaptive, hurried = runs[ADAPTIVE], runs[HURRIED]
    waits_s = [each.took_s for each in hurried.seen if each.end == BUSY]
    is_kept = (
        adaptive.goodput >= LEAST_GOODPUT * runs[KNOWN].goodput
        and adaptive.refused <= MOST_REFUSED
        and median(waits_s) <= DEADLINE_S + MOST_OVER_DEADLINE_S
        and runs["two"].refused == 0
    )
    print(
        f"adaptive to known: goodput {adaptive.goodput / runs[KNOWN].goodput:.2f}x, "
        f"p99 {p99_ms(adaptive.good) - p99_ms(runs[KNOWN].good):+.0f} ms; "
        f"refused after {median(waits_s):.2f} s, at most {max(waits_s):.2f} (deadline {DEADLINE_S} s)"
        f"{'' if is_kept else '   MISSED'}",
        flush=True,
    )
    return is_kept


async def _measure(limits: str, *, has_second: bool = False) -> Measured:
    with faulty_teacher() as small, faulty_teacher() as second, tempfile.TemporaryDirectory() as folder:
        small.become("small")
        file = Path(folder) / "stepdown.toml"
        file.write_text(_teacher("small", small, limits) + (_teacher("second", second) if has_second else ""))
        home = Path(folder) / "home"
        with gateway_process(
            home, "--open", STEPDOWN_CONFIG=str(file), STEPDOWN_LEARN_ENABLED="false"
        ) as gateway:
            traffic = Traffic(gateway.port, CLIENTS, pause_s=PAUSE_WITH_SECOND_S if has_second else 0.0)
            await asyncio.sleep(WARM_UP_S)
            begun, posts = time.monotonic(), small.posts
            await asyncio.sleep(MEASURED_S)
            ended, posts = time.monotonic(), small.posts - posts
            await traffic.stop()
    label = (limits.replace("\n", ", ") or "no limit") + (", two teachers" if has_second else "")
    seen = [each for each in traffic.seen if begun <= each.begun + each.took_s < ended]
    measured = Measured(label, seen, posts, ended - begun)
    print(measured.describe(), flush=True)
    return measured


def _teacher(name: str, teacher: FaultyTeacher, limits: str = "") -> str:
    return f'[[teachers]]\nname = "{name}"\nbase_url = "{teacher.base_url}"\ncredential = "none"\n{limits}\n'
