"""Adoption: an unknown template becomes a task."""

from __future__ import annotations

import numpy as np

from gateway.distill.base import Event
from gateway.errors import SpecialistError, TrainingError
from gateway.harvest.base import Row
from gateway.specialists.base import Encoder
from gateway.store.tasks import TaskStore


def adopt_task(row: Row | None, tasks: TaskStore, encoder: Encoder) -> Event:
    """Make a task of the template of `row`. Raises TrainingError without one."""
    if row is None:
        raise TrainingError("no rows to learn from")
    tasks.put(
        row.task,
        scope=row.scope,
        contract_hash=row.contract_hash,
        template_text=row.template_text,
        vector=vector_of(row.template_text, encoder),
        model=row.model,
    )
    return Event(task=row.task, kind="adopted", detail=row.model)


def vector_of(template_text: str, encoder: Encoder) -> bytes:
    """Return a template's unit vector; zeros, which resemble nothing, where it has none."""
    try:
        vector = np.asarray(encoder.encode(template_text), np.float32)
    except SpecialistError:
        vector = np.zeros(encoder.dimension, np.float32)
    return vector.tobytes()
