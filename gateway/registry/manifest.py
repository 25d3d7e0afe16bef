"""What a model version says of itself: its origin, its measure, the hash of every file."""

from __future__ import annotations

import msgspec

from gateway.core import Footprint


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one task's specialist.

    `files` maps each file's name to the sha256 (hex) of its content; it is empty only
    before publishing. `created_at` is unix seconds. `rows` counts training rows, `answers`
    the distinct answers that the specialist can give, `parent` is the version it grew from.
    """

    task: str
    version: int
    runtime: str
    encoder: str
    """Name and content hash of the encoder that made the vectors it was trained on."""
    created_at: float
    recipe: str
    seed: int
    rows: int
    answers: int
    files: dict[str, str] = {}
    parent: int | None = None
    metrics: dict[str, float] = {}
    served_model: str = ""
    """The model elsewhere that it was validated on; empty if it drafts by its files."""
    footprint: Footprint | None = None
    """What it takes on the machine that made it; None if it was not measured."""
