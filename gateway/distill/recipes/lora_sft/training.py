"""Teaching a student: new rows in passes, some known ones among them, resumable between looks."""

from __future__ import annotations

import ctypes
import logging
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from gateway.distill.checkpoints import Checkpoint
from gateway.distill.recipes.lora_sft.dataset import Example, batches
from gateway.distill.recipes.lora_sft.student import Student

logger = logging.getLogger(__name__)

_THREADS = 2
_WARM_UP_STEPS = 20
_LAST_RATE = 0.05
_MAX_NORM = 1.0


class TrainingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to teach and how.

    Every `fresh` row is seen in each of the `passes`, with `replayed` known ones for each of them,
    so that these are not forgotten. `watched` rows are only looked at.
    """

    fresh: Sequence[Example]
    known: Sequence[Example]
    watched: Sequence[Example]
    rate: float
    batch_rows: int
    passes: int
    replayed: float
    seed: int
    look_every: int = 60
    """Steps between two looks at the agreement on the watched rows, and between two checkpoints."""
    patience: int = 3
    """Looks without a better agreement after which rows are not repeated any more."""

    def steps(self) -> list[list[Example]]:
        """Return the batch of each step: the same ones for the same course."""
        draw = random.Random(self.seed)  # noqa: S311 - a reproducible order, not a secret
        return [batch for _ in range(self.passes) for batch in self._one_pass(draw)]

    def _one_pass(self, draw: random.Random) -> Iterator[list[Example]]:
        again = draw.sample(self.known, min(len(self.known), int(len(self.fresh) * self.replayed)))
        return batches([*self.fresh, *again], self.batch_rows, draw)


class _Best(msgspec.Struct):
    """The weights which agreed best so far, and the looks since then."""

    weights: dict[str, Any] | None = None
    agreement: float = -1.0
    stale: int = 0


def teach(student: Student, course: TrainingPlan, checkpoint: Checkpoint) -> float:
    """Teach `student`, leave it as it was at its best look, and return its agreement then.

    Killed, the next call with the same course goes on from the last look and ends alike.
    """
    import torch

    torch.set_num_threads(_THREADS)
    steps = course.steps()
    optimiser = torch.optim.AdamW(student.trained, lr=course.rate, weight_decay=0.0)
    best, done = _resumed(student, optimiser, checkpoint)
    # Before every row was seen once, nobody can tell that there is no more to learn.
    unrepeated = len(steps) // max(1, course.passes)
    for step in _shown(range(done, len(steps)), len(steps)):
        _set_rate(optimiser, course.rate, step, len(steps))
        student.learn(steps[step])
        torch.nn.utils.clip_grad_norm_(student.trained, _MAX_NORM)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if (step + 1) % course.look_every and step + 1 < len(steps):
            continue
        _look(student, course, best)
        logger.info("lora_sft: step %d of %d, best agreement %.3f", step + 1, len(steps), best.agreement)
        _save(student, optimiser, best, step + 1, checkpoint)
        _give_back()
        if best.stale >= course.patience and step + 1 > unrepeated:
            break
    if best.weights is None:
        return student.agreement(course.watched)
    student.restore(best.weights)
    return best.agreement


def _look(student: Student, course: TrainingPlan, best: _Best) -> None:
    agreement = student.agreement(course.watched)
    best.stale = 0 if agreement > best.agreement else best.stale + 1
    # The later of two equals: it has learnt more than the watched rows can show.
    if agreement >= best.agreement:
        best.weights, best.agreement = student.state(), agreement


def _resumed(student: Student, optimiser: Any, checkpoint: Checkpoint) -> tuple[_Best, int]:
    """Return the best student so far and the steps done, having put everything back as it was then."""
    saved = checkpoint.load()
    if saved is None:
        return _Best(), 0
    student.restore(saved["weights"])
    optimiser.load_state_dict(saved["optimiser"])
    return _Best(saved["best"], saved["agreement"], saved["stale"]), saved["done"]


def _save(student: Student, optimiser: Any, best: _Best, done: int, checkpoint: Checkpoint) -> None:
    checkpoint.save(
        {
            "weights": student.state(),
            "optimiser": optimiser.state_dict(),
            "best": best.weights,
            "agreement": best.agreement,
            "stale": best.stale,
            "done": done,
        }
    )


def _give_back() -> None:
    """Return freed memory to the system: glibc keeps a gigabyte of what batches of every width have left."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _set_rate(optimiser: Any, rate: float, step: int, steps: int) -> None:
    """Warm up, then fall in a line."""
    share = min(1.0, (step + 1) / _WARM_UP_STEPS) * max(_LAST_RATE, 1.0 - step / steps)
    for group in optimiser.param_groups:
        group["lr"] = rate * share


def _shown(steps: range, total: int) -> Iterable[int]:
    """Yield `steps`, beside a progress bar if somebody sits at the terminal."""
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
