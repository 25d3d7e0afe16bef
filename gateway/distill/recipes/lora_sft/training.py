"""Training an adapter: new rows in passes, some earlier ones among them, resumable at checkpoints."""

from __future__ import annotations

import ctypes
import logging
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from gateway.distill.checkpoints import Checkpoint
from gateway.distill.recipes.lora_sft.dataset import TokenizedRow, cut_batches
from gateway.distill.recipes.lora_sft.student import Student

logger = logging.getLogger(__name__)

_THREADS = 2
_WARM_UP_STEPS = 20
_LAST_RATE = 0.05
_MAX_NORM = 1.0


class TrainingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The rows to train on and how.

    Each of the `passes` shows every `new` row, and `replayed` rows per new one from those that
    were `learned` before, so that they are not forgotten. `validation` rows are never learned.
    """

    new: Sequence[TokenizedRow]
    learned: Sequence[TokenizedRow]
    validation: Sequence[TokenizedRow]
    rate: float
    batch_rows: int
    passes: int
    replayed: float
    seed: int
    validate_every: int = 60
    """Steps between two measurements of the agreement on the validation rows; each is a checkpoint."""
    patience: int = 3
    """Measurements without a better agreement after which the passes end, if every row was seen."""

    def draw_steps(self) -> list[list[TokenizedRow]]:
        """Return the batch of each step: the same ones for the same plan."""
        draw = random.Random(self.seed)  # noqa: S311 - a reproducible order, not a secret
        return [batch for _ in range(self.passes) for batch in self._draw_pass(draw)]

    def _draw_pass(self, draw: random.Random) -> Iterator[list[TokenizedRow]]:
        again = draw.sample(self.learned, min(len(self.learned), int(len(self.new) * self.replayed)))
        return cut_batches([*self.new, *again], self.batch_rows, draw)


class _Best(msgspec.Struct):
    """The weights that agreed best so far, and the number of measurements since then."""

    weights: dict[str, Any] | None = None
    agreement: float = -1.0
    stale: int = 0


def train_adapter(student: Student, plan: TrainingPlan, checkpoint: Checkpoint) -> float:
    """Train `student`, leave it with the weights that agreed best, and return their agreement.

    If killed, the next call with the same plan resumes from the last checkpoint and gives the
    same result.
    """
    import torch

    torch.set_num_threads(_THREADS)
    steps = plan.draw_steps()
    optimizer = torch.optim.AdamW(student.trained, lr=plan.rate, weight_decay=0.0)
    best, done = _resume(student, optimizer, checkpoint)
    # Until every row was seen once, the agreement cannot show that there is nothing more to learn.
    first_pass = len(steps) // max(1, plan.passes)
    for step in _track(range(done, len(steps)), len(steps)):
        _set_rate(optimizer, plan.rate, step, len(steps))
        student.learn(steps[step])
        torch.nn.utils.clip_grad_norm_(student.trained, _MAX_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % plan.validate_every and step + 1 < len(steps):
            continue
        _validate(student, plan, best)
        logger.info("lora_sft: step %d of %d, best agreement %.3f", step + 1, len(steps), best.agreement)
        _save(student, optimizer, best, step + 1, checkpoint)
        _free_memory()
        if best.stale >= plan.patience and step + 1 > first_pass:
            break
    if best.weights is None:
        return student.measure_agreement(plan.validation)
    student.load_weights(best.weights)
    return best.agreement


def _validate(student: Student, plan: TrainingPlan, best: _Best) -> None:
    agreement = student.measure_agreement(plan.validation)
    best.stale = 0 if agreement > best.agreement else best.stale + 1
    # The later of two equals: it has learned more than the validation rows can show.
    if agreement >= best.agreement:
        best.weights, best.agreement = student.copy_weights(), agreement


def _resume(student: Student, optimizer: Any, checkpoint: Checkpoint) -> tuple[_Best, int]:
    """Put student and optimizer back as they were saved; return the best so far and the steps done."""
    saved = checkpoint.load()
    if saved is None:
        return _Best(), 0
    student.load_weights(saved["weights"])
    optimizer.load_state_dict(saved["optimizer"])
    return _Best(saved["best"], saved["agreement"], saved["stale"]), saved["done"]


def _save(student: Student, optimizer: Any, best: _Best, done: int, checkpoint: Checkpoint) -> None:
    checkpoint.save(
        {
            "weights": student.copy_weights(),
            "optimizer": optimizer.state_dict(),
            "best": best.weights,
            "agreement": best.agreement,
            "stale": best.stale,
            "done": done,
        }
    )


def _free_memory() -> None:
    """Return freed memory to the system: glibc keeps a gigabyte of it after batches of many widths."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _set_rate(optimizer: Any, rate: float, step: int, steps: int) -> None:
    """Warm up, then fall linearly."""
    share = min(1.0, (step + 1) / _WARM_UP_STEPS) * max(_LAST_RATE, 1.0 - step / steps)
    for group in optimizer.param_groups:
        group["lr"] = rate * share


def _track(steps: range, total: int) -> Iterable[int]:
    """Yield `steps`, beside a progress bar where stderr is a terminal."""
    from rich.console import Console
    from rich.progress import track

    return track(
        steps,
        "training the adapter",
        total=total,
        completed=steps.start,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
