"""How well each confidence signal tells right drafts from wrong ones, on real students.

`python -m loadtests.signals --data snips_slots --task json` trains a student on the
first rows of the stream, asks it the next ones, and prints the AUROC of every signal (0.5 is a
coin, 1.0 sorts perfectly) and of the fitted deferral head. With `--version FOLDER` a published
specialist is asked instead, the last rows of its stream.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from gateway.confidence.deferral import Scorer
from gateway.distill.base import EvalResult, TrainingSet, Workspace
from gateway.distill.cached_encoder import CachedEncoder
from gateway.distill.deferral import fit_deferral
from gateway.distill.evaluation import evaluate
from gateway.processes.building import create_recipe
from gateway.registry.models import verify_folder
from gateway.specialists.encoders import create_encoder
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.runtimes import open_runtime
from gateway.specialists.shared_resources import SharedResources
from loadtests.datasets import read_data

EXAM_ROWS = 500


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one student showed. `auroc` is by signal; None where all drafts have the same value."""

    data: str
    recipe: str
    rows: int
    agreement: float
    coverage_at_alpha: float
    auroc: dict[str, float | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, ask, print a table, write `--json`."""
    options = _options().parse_args(arguments)
    data = read_data(options.data, options.seed, None, options.task)
    rows = TrainingSet(
        [pair.messages[-1]["content"] for pair in data.pairs], [pair.answer for pair in data.pairs]
    )
    resources = SharedResources(CachedEncoder(create_encoder("minilm")), EnginePool(options.models, 1_024))
    try:
        if options.version:
            recipe, learnt, validation = _published(options.version, rows, resources)
        else:
            recipe, learnt = options.recipe, options.rows
            validation = _trained(recipe, rows, learnt, options.seed, resources)
    finally:
        resources.engines.close()
    figures = Figures(
        data=data.name,
        recipe=recipe,
        rows=learnt,
        agreement=1 - sum(validation.losses) / len(validation.losses),
        coverage_at_alpha=validation.coverage_at(data.alpha),
        auroc=_aurocs(validation, options.seed),
    )
    _print(figures, data.alpha)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    return 0


def _trained(
    recipe: str, rows: TrainingSet, learnt: int, seed: int, resources: SharedResources
) -> EvalResult:
    """Return how a student of the first rows does on the next."""
    exam = _slice(rows, learnt, learnt + EXAM_ROWS)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder=Path(folder), seed=seed, resources=resources)
        return create_recipe(recipe, {}).validate(_slice(rows, 0, learnt), exam, workspace)


def _published(folder: Path, rows: TrainingSet, resources: SharedResources) -> tuple[str, int, EvalResult]:
    """Return a version's recipe, the number of rows it learnt, and how it does on the last ones."""
    manifest = verify_folder(folder)
    runtime = open_runtime(manifest.runtime, folder, resources)
    last = len(rows.texts)
    scored = evaluate(runtime, _slice(rows, last - EXAM_ROWS, last), Scorer())
    return manifest.recipe, manifest.rows, scored


def _slice(rows: TrainingSet, start: int, end: int) -> TrainingSet:
    return TrainingSet(rows.texts[start:end], rows.answers[start:end])


def _aurocs(validation: EvalResult, seed: int) -> dict[str, float | None]:
    scorer = Scorer()
    kept = [i for i, draft in enumerate(validation.drafts) if draft is not None]
    right = [validation.losses[i] == 0.0 for i in kept]
    read = [scorer.read_signals(draft) for i in kept if (draft := validation.drafts[i])]
    names = sorted(set().union(*read))
    columns = {name: [values.get(name, 0.0) for values in read] for name in names}
    columns["runtime's own score"] = [validation.scores[i] for i in kept]
    deferral, crossed = fit_deferral(validation, scorer, seed)
    if deferral:
        columns["deferral head (cross-fitted)"] = [crossed.scores[i] for i in kept]
    return {name: _auroc(right, column) for name, column in columns.items()}


def _auroc(right: Sequence[bool], column: Sequence[float]) -> float | None:
    if len(set(column)) < 2 or len(set(right)) < 2:
        return None
    return round(float(roc_auc_score(right, column)), 3)


def _print(figures: Figures, alpha: float) -> None:
    table = Table(
        title=f"{figures.data}, {figures.recipe} on {figures.rows:,} rows: agrees {figures.agreement:.1%}, "
        f"covers {figures.coverage_at_alpha:.1%} at {alpha:.0%}"
    )
    table.add_column("signal")
    table.add_column("AUROC", justify="right")
    for name, auroc in figures.auroc.items():
        table.add_row(name, "-" if auroc is None else f"{auroc:.3f}")
    Console(width=110).print(table)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtests.signals", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="a fetched data set's name, its folder, or a .jsonl file"
    )
    parser.add_argument("--task", default="", help="another reading of the data: json (snips_slots)")
    parser.add_argument("--recipe", default="span", help="who trains the student (span)")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), help="folder of pulled bases (./models)"
    )
    parser.add_argument("--version", type=Path, help="folder of a published version, in place of training")
    parser.add_argument("--rows", type=int, default=3_000, help="rows to learn (3000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
