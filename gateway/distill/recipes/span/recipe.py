"""The recipe `span`: a fine-tuned encoder that marks the values of an answer in the input."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from gateway.confidence.agreement import canonical_text
from gateway.confidence.deferral import Scorer
from gateway.distill.base import EvalResult, Report, TrainingSet, Workspace
from gateway.distill.cached_encoder import sampled_vectors
from gateway.distill.evaluation import evaluate
from gateway.distill.labels import are_labels, most_tokens
from gateway.distill.recipes.span.dataset import Dataset, build_dataset
from gateway.distill.recipes.span.network import export_tagger, name_outputs, new_network, trained_weights
from gateway.distill.recipes.span.network_agreement import measure_agreement
from gateway.distill.recipes.span.option_head import fit_option_head
from gateway.distill.recipes.span.pretrained import SHA256
from gateway.distill.recipes.span.training import Hyperparameters, fit_tagger
from gateway.distill.saved_students import Lineage, SavedStudents, row_digest
from gateway.errors import SpecialistError, TrainingError
from gateway.specialists import knn
from gateway.specialists.answer_tokens import write_answer_tokens
from gateway.specialists.encoders.minilm import build_tokenizer
from gateway.specialists.runtimes.tagger import runtime
from gateway.specialists.runtimes.tagger.grammar import Grammar
from gateway.specialists.runtimes.tagger.lesson_drafts import write_lesson_drafts
from gateway.specialists.runtimes.tagger.option_head import write_option_head

_VALIDATION_PART = 20
"""One row in so many measures the passes instead of being learned."""
_FEWEST_VALIDATION_ROWS = 20
_MOST_VALIDATION_ROWS = 300
_UNLEARNED_SHARE = 0.5
"""With a smaller share of the validation rows unlearned, the rows were split in another way."""
_REBUILT_SHARE = 0.8
_LATEST_ROWS = 2_000
"""Enough to tell whether answers can be rebuilt, and quick: half a second for 3,000 rows."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the recipe."""

    fewest_rows: int = 500
    """Rows before which a tagger knows too little to be worth its minutes (SNIPS JSON: 1,000 rows
    cover 43 % at 5 % error)."""
    first_rows: int = 18_000
    """Rows that a student without a parent sees, repeats included, in no fewer than `first_passes`."""
    first_passes: int = 4
    afresh_rows: int = 6_000
    """Rows up to which each validation starts a new student. Trained in instalments of 540 to 1,880 rows,
    biomed_ner covered 32 % at 5 % set F1; started again, 40 %."""
    further_passes: int = 2
    """Passes of a student that goes on from the last version's."""
    rate: float = 4.5e-4
    further_rate: float = 2.5e-4


def create(config: Config) -> SpanRecipe:
    """Return the recipe."""
    return SpanRecipe(config)


class SpanRecipe:
    """Learns which words of a text are values of its answer, and which constants the answer holds."""

    name = "span"
    runtime = "tagger"
    learns = "labels, and JSON or tool calls that are composed of words of their texts"
    is_general = False
    growth = 1.5

    def __init__(self, config: Config) -> None:
        self._config = config

    def can_learn(self, rows: TrainingSet) -> bool:
        """Return whether the answers are labels, or most can be rebuilt from parts of their inputs."""
        if are_labels(rows.answers):
            return True
        texts, answers = rows.texts[-_LATEST_ROWS:], rows.answers[-_LATEST_ROWS:]
        dataset = build_dataset(texts, answers, build_tokenizer(), runtime.MAX_TOKENS)
        return dataset.grammar.frame != "text" and len(dataset.rows) >= _REBUILT_SHARE * len(texts)

    def validate(self, training: TrainingSet, validation: TrainingSet, workspace: Workspace) -> EvalResult:
        """Return how a student of `training` does on the rows of `validation` that no ancestor learned.

        Saves the student, from which `train` goes on. Raises TrainingError.
        """
        fewest = _UNLEARNED_SHARE * len(validation.texts)
        lineage, rows = self._students(workspace).start_validation(
            digest_texts(training),
            digest_texts(validation),
            fewest,
            afresh_rows=self._config.afresh_rows,
        )
        with tempfile.TemporaryDirectory(prefix="stepdown-span-") as scratch:
            self._learn(training, Path(scratch), workspace, lineage)
            served = runtime.create(Path(scratch), workspace.resources)
            return evaluate(served, validation.select(rows), Scorer(), agreements=workspace.agreements)

    def train(self, training: TrainingSet, folder: Path, workspace: Workspace) -> Report:
        """Write a tagger, and its drafts of the lessons, into `folder`, going on from the latest student.

        Raises TrainingError.
        """
        lineage = self._students(workspace).start_version(digest_texts(training))
        report = self._learn(training, folder, workspace, lineage)
        _write_lesson_drafts(training, folder, workspace)
        return report

    def _students(self, workspace: Workspace) -> SavedStudents:
        return SavedStudents(workspace.folder / self.name, SHA256)

    def _learn(self, training: TrainingSet, folder: Path, workspace: Workspace, lineage: Lineage) -> Report:
        """Train a student of `training`, save it, and write its files into `folder`."""
        if len(training.texts) < self._config.fewest_rows:
            raise TrainingError(
                f"{len(training.texts)} rows; a tagger needs {self._config.fewest_rows} to begin with"
            )
        dataset = _require_rebuilt(training)
        held_out = _held_out_rows(training, workspace.seed)
        learned = [index for index, row in enumerate(dataset.rows) if row not in held_out]
        validation = training.select(sorted(held_out)[-_MOST_VALIDATION_ROWS:])
        network = new_network(dataset.grammar, lineage.parent, workspace.seed)
        hyperparameters = self._hyperparameters(
            len(learned), workspace.seed, has_parent=lineage.parent is not None
        )
        checkpoint = lineage.open_checkpoint(training, dataset.grammar, hyperparameters)
        fit_tagger(
            network,
            dataset.grammar,
            [dataset.targets[index] for index in learned],
            hyperparameters,
            measure=lambda: measure_agreement(network, dataset.grammar, validation),
            checkpoint=checkpoint,
        )
        export_tagger(network, folder / runtime.MODEL)
        runtime.write_grammar(dataset.grammar, build_tokenizer(), folder)
        encoder = workspace.resources.encoder
        _write_option_head(dataset, learned, training, folder, workspace)
        _write_choice_tokens(dataset.grammar, training, folder)
        knn.write_neighbors(sampled_vectors(training.texts, encoder, workspace.seed), folder)
        digests = digest_texts(training.select([dataset.rows[index] for index in learned]))
        lineage.save(digests, trained_weights(network), name_outputs(dataset.grammar))
        checkpoint.clear()
        metrics = {"rows_left_out": float(len(training.texts) - len(dataset.rows))}
        if validation.texts:
            metrics["agreement_before_int8"] = measure_agreement(network, dataset.grammar, validation)
            metrics["agreement_int8"] = _served_agreement(folder, validation, workspace)
        answers = {canonical_text(training.answers[row]) for row in dataset.rows}
        return Report(
            rows=len(learned), answers=len(answers), metrics=metrics, has_parent=lineage.parent is not None
        )

    def _hyperparameters(self, rows: int, seed: int, *, has_parent: bool) -> Hyperparameters:
        config = self._config
        if has_parent:
            return Hyperparameters(config.further_passes, config.further_rate, seed)
        passes = max(config.first_passes, config.first_rows // max(1, rows))
        return Hyperparameters(passes, config.rate, seed)


def _require_rebuilt(training: TrainingSet) -> Dataset:
    """Return the dataset of `training`. Raises TrainingError when too few answers can be rebuilt."""
    dataset = build_dataset(training.texts, training.answers, build_tokenizer(), runtime.MAX_TOKENS)
    rebuilt = len(dataset.rows) / max(1, len(training.texts))
    if rebuilt < _REBUILT_SHARE or dataset.grammar.tags + dataset.grammar.options < 2:
        raise TrainingError(
            f"{rebuilt:.0%} of {len(training.texts)} answers can be rebuilt from their inputs and from "
            f"values that repeat; needed: {_REBUILT_SHARE:.0%}, and something to decide"
        )
    return dataset


def _write_option_head(
    dataset: Dataset, learned: Sequence[int], training: TrainingSet, folder: Path, workspace: Workspace
) -> None:
    """Write a head that judges the options beside the network, where nothing else is decided."""
    if dataset.grammar.tags > 1:
        return
    texts = [training.texts[dataset.rows[index]] for index in learned]
    targets = [dataset.targets[index] for index in learned]
    head = fit_option_head(dataset.grammar, texts, targets, workspace.resources.encoder, workspace.seed)
    if head:
        write_option_head(head, folder)


def _write_choice_tokens(grammar: Grammar, training: TrainingSet, folder: Path) -> None:
    """Write what the teacher took for each answer, if an answer is one choice."""
    if grammar.is_choice:
        answers = [grammar.compose_answer("", [option], ()) for option in range(grammar.options)]
        write_answer_tokens(most_tokens(training, list(map(canonical_text, answers))), folder)


def _write_lesson_drafts(training: TrainingSet, folder: Path, workspace: Workspace) -> None:
    """Write what the served tagger decides about each lesson, where it has an answer to it."""
    served, drafts = runtime.create(folder, workspace.resources), {}
    for text in training.texts:
        with suppress(SpecialistError):
            drafts[text] = served.draft_anew(text)
    write_lesson_drafts(drafts, folder)


def _held_out_rows(training: TrainingSet, seed: int) -> set[int]:
    """Return the rows that no version learns: drawn by the text alone, none if they would be few."""
    drawn = {
        row
        for row, text in enumerate(training.texts)
        if int(row_digest(f"{seed} {text}"), 16) % _VALIDATION_PART == 0
    }
    return drawn if len(drawn) >= _FEWEST_VALIDATION_ROWS else set()


def digest_texts(rows: TrainingSet) -> list[str]:
    """Return the digest of each text: a row with a new answer is not a new one here."""
    return [row_digest(text) for text in rows.texts]


def _served_agreement(folder: Path, validation: TrainingSet, workspace: Workspace) -> float:
    losses = evaluate(runtime.create(folder, workspace.resources), validation, Scorer()).losses
    return 1.0 - sum(losses) / len(losses)
