"""Runs rounds in which every gateway has its turn, and takes the medians over them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from loadtests.peers.arithmetic import gap, median, rounded
from loadtests.peers.bench import Bench, Sample, measure_latency, measure_saturation, measure_streams, warm_up
from loadtests.peers.endurance import measure_memory, open_streams
from loadtests.peers.figures import Figures, Memory, Open
from loadtests.peers.running import Running

FEW_OPEN, MANY_OPEN = 500, 2_000
ADDED = {
    "added_p50_ms": "p50_ms",
    "added_p99_ms": "p99_ms",
    "added_first_chunk_ms": "first_chunk_ms",
}
"""The figures compared with the direct call of the same round, by the name of the difference."""


class _Tally:
    """The samples of one gateway so far."""

    def __init__(self, target: Running) -> None:
        self.target = target
        self.idle: Sample = {}
        self.samples: list[Sample] = []
        self.memory: Memory | None = None
        self.open: list[Open] = []

    def figures(self) -> Figures:
        """Return the medians and the single figures."""
        named = {name for sample in self.samples for name in sample}
        medians = {name: median([sample.get(name) for sample in self.samples]) for name in named}
        few, many = self.open
        return Figures(
            **{name: rounded(value) for name, value in (self.idle | medians).items()},
            memory=self.memory,
            open_500=few,
            open_2000=many,
        )


def compare_gateways(bench: Bench, targets: Sequence[Running]) -> dict[str, Figures]:
    """Return the figures of `targets`; the first is the direct call."""
    tallies = [_Tally(target) for target in targets]
    for tally in tallies:
        _begin(bench, tally)
    for number in range(bench.length.rounds):
        _say(f"round {number + 1} of {bench.length.rounds}")
        for tally in tallies:
            tally.samples.append(_round(bench, tally.target))
            _compare(tally.samples[-1], tallies[0].samples[-1])
    for tally in tallies:
        for count in (FEW_OPEN, MANY_OPEN):
            _say(f"{count:,} open streams of {tally.target.name}")
            tally.open.append(open_streams(bench, tally.target, count))
    return {tally.target.name: tally.figures() for tally in tallies}


def _begin(bench: Bench, tally: _Tally) -> None:
    """Measure an idle gateway, then the growth of its memory before longer prompts have stretched it."""
    target = tally.target
    if target.plan:
        tally.idle = {
            "ready_s": target.ready_s,
            "rss_idle_mb": target.worker_rss_mb(),
            "tree_rss_idle_mb": target.rss_mb(),
        }
    _say(f"warming up {target.name}, then its memory")
    warm_up(bench, target)
    if target.plan:
        tally.memory = measure_memory(bench, target)


def _round(bench: Bench, target: Running) -> Sample:
    return measure_latency(bench, target) | measure_saturation(bench, target) | measure_streams(bench, target)


def _compare(sample: Sample, direct: Sample) -> None:
    if sample is not direct:
        sample |= {added: gap(sample[name], direct[name]) for added, name in ADDED.items()}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
