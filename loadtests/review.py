"""How early a review meets the teacher's errors: `python -m loadtests.review --data DIR [DIR ...]`.

Of the first 2,000 rows of each data set, 20 get another answer of the set, each with the same chance. The
review orders all rows; counted is how many planted errors are among the first 60 that it shows. The sets
have errors of their own, which count as none. With `--poisoned` 100 rows (5 %) get a wrong answer: any, or
one and the same, as from somebody who wants the specialist to learn it.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gateway.distill.base import Workspace
from gateway.distill.cached_encoder import CachedEncoder
from gateway.distill.suspects import find_suspects
from gateway.harvest.base import Row
from gateway.processes.reviewing import create_student
from gateway.specialists.encoders import create_encoder
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.shared_resources import SharedResources
from loadtests.datasets import read_data

ROWS, FIRST = 2_000, 60
PLANTED, FEWEST = 20, 15
POISONED = 100


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One run: planted errors among the first rows of the review."""

    data: str
    seed: int
    rows: int
    planted: int
    found: int
    seconds: float


Planted = tuple[list[Row], set[str]]
"""Rows, and the ids of those whose answer was changed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant, order, count; 3 if the bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.review", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of data sets")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--poisoned", choices=("any", "one"), help="100 rows with any, or one, wrong answer")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    resources = SharedResources(CachedEncoder(create_encoder("minilm")), EnginePool(Path(), 256))
    count = POISONED if options.poisoned else PLANTED
    runs = [
        _run(folder, seed, _plant(folder, seed, count, is_one=options.poisoned == "one"), resources)
        for folder in options.data
        for seed in range(options.seeds)
    ]
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(runs)))
    return 0 if all(run.found >= FEWEST for run in runs) else 3


def _run(folder: Path, seed: int, planted: Planted, resources: SharedResources) -> Figures:
    rows, wrong = planted
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(folder=Path(scratch), seed=seed, resources=resources)
        began = time.process_time()
        suspects = find_suspects(rows, create_student(), workspace)
    shown = {suspect.row.request_id for suspect in suspects[:FIRST]}
    run = Figures(
        data=folder.name,
        seed=seed,
        rows=len(rows),
        planted=len(wrong),
        found=len(shown & wrong),
        seconds=time.process_time() - began,
    )
    print(
        f"{run.data}  seed {seed}  {run.found} of {run.planted} planted errors in the first {FIRST} of "
        f"{run.rows:,} rows  {run.seconds:.1f} s of CPU",
        flush=True,
    )
    return run


def _read_rows(folder: Path, seed: int) -> list[Row]:
    pairs = read_data(folder, seed, ROWS).pairs
    return [_row(str(n), pair.messages[-1]["content"], pair.answer) for n, pair in enumerate(pairs)]


def _plant(folder: Path, seed: int, count: int, *, is_one: bool) -> Planted:
    """Return the rows of a data set with `count` errors among them, and which these are."""
    rows, draw = _read_rows(folder, seed), random.Random(seed)
    answers = sorted({row.answer for row in rows})
    wanted = [draw.choice(answers)] if is_one else answers
    chosen = draw.sample([n for n, row in enumerate(rows) if [row.answer] != wanted], count)
    for number in chosen:
        wrong = draw.choice([answer for answer in wanted if answer != rows[number].answer])
        rows[number] = msgspec.structs.replace(rows[number], answer=wrong)
    return rows, {rows[number].request_id for number in chosen}


def _row(request_id: str, text: str, answer: str) -> Row:
    return Row(
        request_id=request_id,
        at=float(request_id),
        task="task",
        match="fingerprint",
        model="teacher",
        template="",
        template_text="",
        contract_hash="",
        text=text,
        answer=answer,
        messages=b"[]",
        is_held_out=False,
        propensity=0.0,
    )


if __name__ == "__main__":
    raise SystemExit(main())
