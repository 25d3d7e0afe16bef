"""A tagger's decisions about the very texts that it has learnt, taken once, when it is trained.

They are what the network would decide, number for number, so that certificate, audits and thresholds know
no difference: only its time is saved. Values are kept by their places in the text, and the text by its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from gateway.core import Trace
from gateway.errors import RegistryError
from gateway.specialists.learnt import hash_exactly
from gateway.specialists.runtimes.tagger.grammar import Span

FILE = "lesson_drafts.msgpack"


class LessonDraft(msgspec.Struct, frozen=True, array_like=True):
    """The decisions about a text, how sure they are, and the length of the text."""

    options: list[int]
    spans: list[Span]
    trace: Trace
    similarity: float
    prompt_tokens: int


class LessonDrafts:
    """The drafts of texts that are known by their hashes, packed until they are asked for."""

    def __init__(self, packed: Mapping[bytes, msgspec.Raw] | None = None) -> None:
        self._packed = packed or {}
        self._decoder = msgspec.msgpack.Decoder(LessonDraft)

    def find(self, text: str) -> LessonDraft | None:
        """Return the draft of exactly `text`, None if it was no lesson; a few us."""
        packed = self._packed.get(hash_exactly(text)) if self._packed else None
        return None if packed is None else self._decoder.decode(packed)


def write_lesson_drafts(drafts: Mapping[str, LessonDraft], folder: Path) -> None:
    """Write the drafts of texts into `folder`: some 30 bytes for each decision, no letter of the text."""
    by_hash = {hash_exactly(text): draft for text, draft in drafts.items()}
    (folder / FILE).write_bytes(msgspec.msgpack.encode(dict(sorted(by_hash.items()))))


def read_lesson_drafts(folder: Path) -> LessonDrafts:
    """Return the drafts in `folder`; none if there is no such file. Raises RegistryError naming it."""
    path = folder / FILE
    if not path.exists():
        return LessonDrafts()
    try:
        return LessonDrafts(msgspec.msgpack.decode(path.read_bytes(), type=dict[bytes, msgspec.Raw]))
    except msgspec.MsgspecError as exc:
        raise RegistryError(f"{path} is unreadable: {exc}") from exc
