"""What stopped the learning of one task: a reason for its status, or trouble of the whole learner."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.distill.training_progress import TrainingProgress
from gateway.errors import RegistryError, StepdownError, TrainingError

logger = logging.getLogger(__name__)


def explain_fault(task: str, fault: Exception) -> str:
    """Return why `task` waits after `fault`, as its status says it.

    Raises `fault` again if it is no matter of this task: a disk that is full, a locked database. Anything
    unexpected is logged with its place: traffic of one task must not end the learning of all others.
    """
    if isinstance(fault, TrainingError | RegistryError):
        return str(fault)
    if isinstance(fault, StepdownError | sqlite3.Error | OSError):
        raise fault
    logger.error("learning %s failed", task, exc_info=fault)
    return f"learning failed with {type(fault).__name__}: a defect; the learner's log says where"


@contextmanager
def forget_on_fault(progress: dict[str, TrainingProgress], task: str) -> Iterator[None]:
    """Forget the noted progress of `task` where the block fails: it is tried again, grown or not."""
    try:
        yield
    except Exception:
        progress.pop(task, None)
        raise
