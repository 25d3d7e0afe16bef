"""What a head's first stage takes over, costs, and lets through: with it and without it, on the same texts.

`python -m loadtests.stages --data banking77 --other clinc150` trains a head on texts of one data set and
asks it fresh ones of the same and texts of another task, which a user of this one should never send.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from gateway.cli import read_count
from gateway.confidence.agreement import measure_loss
from gateway.confidence.judging import NOVEL_SHARE
from gateway.core import DraftRequest
from gateway.demo.tickets import Pair
from gateway.distill.base import EvalResult
from gateway.distill.cached_encoder import CachedEncoder
from gateway.processes.building import create_recipe
from gateway.processes.learner import limit_threads
from gateway.specialists.base import NullListener, Prediction
from gateway.specialists.encoders import create_encoder
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.runtimes.head import first_stage, lesson_drafts, runtime
from gateway.specialists.shared_resources import SharedResources
from loadtests.datasets import read_data
from loadtests.support.fleet import train_specialist


class Figures(msgspec.Struct, frozen=True):
    """One head, with or without its first stage."""

    name: str
    first_stage_share: float
    agrees: float
    covers: float
    """Share of the fresh texts that can be served within alpha."""
    covers_half: float
    """The same within half of alpha."""
    other_first: float
    """Share of the other task's texts that the first stage drafts."""
    other_served: float
    """Share of these that threshold and novelty floor let through."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.stages", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a fetched data set, a folder or a file")
    parser.add_argument("--other", type=Path, required=True, help="another one, whose texts are off the task")
    parser.add_argument(
        "--lessons", type=read_count, default=2_500, help="texts that the head learns (2,500)"
    )
    parser.add_argument(
        "--texts", type=read_count, default=3_000, help="fresh texts, and other ones, at most (3,000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order of the texts (0)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()

    limit_threads()
    # As in the model host: threads of BLAS would wait for each other.
    with threadpool_limits(1):
        figures = measure(options)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    table = Table(title=f"{options.data.name}, {options.lessons} lessons; other texts: {options.other.name}")
    for name in Figures.__struct_fields__:
        table.add_column(name.replace("_", " "))
    for one in figures:
        shares = list(msgspec.structs.asdict(one).values())[1:]
        table.add_row(one.name, *(f"{share:.1%}" for share in shares))
    Console(width=150).print(table)


def measure(options: argparse.Namespace) -> list[Figures]:
    """Return the figures of the head without and with its first stage; of the first alone if it has none."""
    data = read_data(options.data, options.seed)
    pairs = list({pair.text: pair for pair in data.pairs}.values())
    fresh = pairs[options.lessons : options.lessons + options.texts]
    others = [pair.text for pair in read_data(options.other, options.seed).pairs[: options.texts]]
    resources = SharedResources(CachedEncoder(create_encoder("minilm")), EnginePool(Path("no-models"), 64))
    with tempfile.TemporaryDirectory(prefix="stepdown-") as scratch:
        whole, plain = Path(scratch) / "whole", Path(scratch) / "plain"
        train_specialist(create_recipe("head", {}), pairs[: options.lessons], whole, Path(), data.alpha)
        shutil.copytree(whole, plain)
        # What it has learnt was drafted by both stages.
        (plain / lesson_drafts.FILE).unlink()
        (plain / first_stage.FILE).unlink(missing_ok=True)
        heads = {"one stage": plain, "two stages": whole} if (whole / first_stage.FILE).exists() else {}
        return [
            _measure(name, runtime.create(folder, resources), fresh, others, data.alpha)
            for name, folder in (heads or {"no stage pays": plain}).items()
        ]


def _measure(
    name: str, head: runtime.HeadRuntime, fresh: Sequence[Pair], others: Sequence[str], alpha: float
) -> Figures:
    drafts = [_draft(head, pair.text) for pair in fresh]
    losses = [measure_loss(pair.answer, draft.text) for pair, draft in zip(fresh, drafts, strict=True)]
    result = EvalResult([draft.score for draft in drafts], losses)
    covers = result.coverage_at(alpha)
    threshold = sorted(result.scores, reverse=True)[max(0, int(covers * len(drafts)) - 1)]
    near = sorted(draft.evidence["similarity"] for draft in drafts if "similarity" in draft.evidence)
    floor = near[min(int(NOVEL_SHARE * len(drafts)), len(near) - 1)]
    strange = [_draft(head, text) for text in others]
    served = [
        draft.score >= threshold and draft.evidence.get("similarity", floor) >= floor for draft in strange
    ]
    return Figures(
        name=name,
        first_stage_share=_first_share(drafts),
        agrees=1 - sum(losses) / len(losses),
        covers=covers,
        covers_half=result.coverage_at(alpha / 2),
        other_first=_first_share(strange),
        other_served=sum(served) / len(served),
    )


def _first_share(drafts: Sequence[Prediction]) -> float:
    return sum("first_stage" in draft.evidence for draft in drafts) / len(drafts)


def _draft(head: runtime.HeadRuntime, text: str) -> Prediction:
    return head.draft(DraftRequest(text=text), NullListener())


if __name__ == "__main__":
    main()
