"""What a specialist of each task is worth: right answers, and what it takes, beside a large decoder.

`python -m loadtests.worth --data banking77 clinc150 --decoder` trains a specialist on the first rows of each
set and asks it texts that it has never learnt. The first half of these chooses the threshold, for the set's
alpha; on the second half the table says how often specialist, teacher and cascade are right. Its last row is
what this machine would take for a decoder with the shape of 7 B, int4 weights: two of its layers are run,
with random weights, and scaled to all of them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from gateway.cli import read_count
from gateway.confidence.agreement import measure_loss
from gateway.core import DraftRequest
from gateway.demo.tickets import Pair
from gateway.distill.base import EvalResult
from gateway.errors import ConfigError, SpecialistError, TrainingError
from gateway.processes.building import create_recipe
from gateway.processes.learner import limit_threads
from gateway.specialists.base import NullListener, Prediction, Runtime
from gateway.specialists.encoders import create_encoder
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.measuring import TEXTS, MeasuredVersion, measure_footprint
from gateway.specialists.runtimes import open_runtime
from gateway.specialists.shared_resources import SharedResources
from loadtests.datasets import read_data
from loadtests.support.fleet import Specialist, train_specialist
from loadtests.support.large_decoder import measure_decoder

REFUSED = Prediction(text="", score=0.0)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One task's figures: shares of the texts, milliseconds, MiB. None: there is nothing to measure."""

    task: str
    recipe: str = ""
    agreement: float | None = None
    """Of all drafts with the teacher."""
    covered: float | None = None
    """The share that the threshold serves."""
    served_agreement: float | None = None
    teacher_right: float | None = None
    """Where there are labels of people beside the teacher's."""
    specialist_right: float | None = None
    cascade_right: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    memory_mb: float | None = None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.worth", description=__doc__)
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME",
        help="data sets; NAME:TASK:RECIPE for other than heads",
    )
    parser.add_argument("--folder", type=Path, help="where the data sets are, unless they were fetched")
    parser.add_argument("--lessons", type=read_count, default=3_000, help="texts that it learns (3,000)")
    parser.add_argument("--texts", type=read_count, default=1_000, help="fresh texts, at most (1,000)")
    parser.add_argument("--agreement", default="exact", help="how drafts are compared (exact)")
    parser.add_argument(
        "--models",
        type=Path,
        default=Path("no-models"),
        help="folder with the base of decoders, if there are any",
    )
    parser.add_argument("--decoder", action="store_true", help="also the decoder with the shape of 7 B")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()

    if not options.data and not options.decoder:
        parser.error("nothing to measure: say --data or --decoder")

    limit_threads()
    try:
        rows = [_measure(name, options) for name in options.data]
    except (ConfigError, TrainingError) as exc:
        parser.error(str(exc))
    if options.decoder:
        decoder = measure_decoder()
        rows.append(Row(task=decoder.shape, p50_ms=decoder.label_ms, memory_mb=decoder.memory_mb))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)))
    Console(width=150).print(_table(rows))


def _measure(name: str, options: argparse.Namespace) -> Row:
    data_name, task, recipe_name = [*name.split(":"), "", ""][:3]
    path = options.folder / data_name if options.folder else Path(data_name)
    data, recipe = read_data(path, 0, None, task), create_recipe(recipe_name or "head", {})
    pairs = list({pair.text: pair for pair in data.pairs}.values())
    lessons = min(options.lessons, 2 * len(pairs) // 3)
    fresh = pairs[lessons : lessons + options.texts]
    models = options.models.resolve()
    with tempfile.TemporaryDirectory(prefix="stepdown-") as scratch:
        folder = Path(scratch) / "version"
        specialist = train_specialist(recipe, pairs[:lessons], folder, models, data.alpha)
        drafts = _draft_all(specialist, fresh, models)
        losses = [
            measure_loss(pair.answer, draft.text, agreement=options.agreement)
            for pair, draft in zip(fresh, drafts, strict=True)
        ]
        row = _compare(drafts, losses, fresh, data.gold, data.alpha)
        takes = measure_footprint(
            MeasuredVersion(
                runtime=recipe.runtime,
                folder=str(folder),
                texts=specialist.lessons.texts[:TEXTS],
                encoder="minilm",
                encoder_options={},
                models=str(models),
                memory_mb=1_024,
            )
        )
    row = msgspec.structs.replace(row, task=data.name, recipe=recipe.name)
    if takes is None:
        return row
    return msgspec.structs.replace(row, p50_ms=takes.p50_ms, p99_ms=takes.p99_ms, memory_mb=takes.memory_mb)


def _draft_all(specialist: Specialist, pairs: Sequence[Pair], models: Path) -> list[Prediction]:
    with closing(EnginePool(models, 1_024)) as engines:
        resources = SharedResources(create_encoder("minilm"), engines)
        runtime = open_runtime(specialist.runtime, specialist.folder, resources)
        return [_draft(runtime, pair.text) for pair in pairs]


def _draft(runtime: Runtime, text: str) -> Prediction:
    try:
        return runtime.draft(DraftRequest(text=text), NullListener())
    except SpecialistError:  # the teacher answers
        return REFUSED


def _compare(
    drafts: Sequence[Prediction],
    losses: Sequence[float],
    pairs: Sequence[Pair],
    gold: dict[str, str],
    alpha: float,
) -> Row:
    half = len(pairs) // 2
    scores = [draft.score for draft in drafts]
    threshold = _threshold(EvalResult(scores[:half], list(losses[:half])), alpha)
    asked = list(zip(pairs, drafts, losses, strict=True))[half:]
    served = [loss for _, draft, loss in asked if draft.score >= threshold]
    row = Row(
        task="",
        agreement=1 - sum(loss for *_, loss in asked) / len(asked),
        covered=len(served) / len(asked),
        served_agreement=1 - sum(served) / len(served) if served else None,
    )
    if not gold:
        return row
    answers = {
        "teacher_right": [pair.answer for pair, *_ in asked],
        "specialist_right": [draft.text for _, draft, _ in asked],
        "cascade_right": [
            draft.text if draft.score >= threshold else pair.answer for pair, draft, _ in asked
        ],
    }
    right = {
        name: sum(said == gold[pair.text] for said, (pair, *_) in zip(all_said, asked, strict=True))
        / len(asked)
        for name, all_said in answers.items()
    }
    return msgspec.structs.replace(row, **right)


def _threshold(exam: EvalResult, alpha: float) -> float:
    """Return the lowest score within the risk; above all where there is none."""
    served = int(exam.coverage_at(alpha) * len(exam.scores))
    return sorted(exam.scores, reverse=True)[served - 1] if served else 1.1


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="specialists that have learnt the first rows, on texts that they have not")
    for name in Row.__struct_fields__:
        table.add_column(name.removesuffix("_ms").removesuffix("_mb").replace("_", " "))
    for row in rows:
        table.add_row(*(_show(name, getattr(row, name)) for name in Row.__struct_fields__))
    return table


def _show(name: str, value: str | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if name.endswith("_ms"):
        return f"{value:,.1f} ms"
    return f"{value:,.0f} MB" if name.endswith("_mb") else f"{value:.1%}"


if __name__ == "__main__":
    main()
