"""What stands in for the wire, the model host and the outbox when a gateway runs in one process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from gateway.core import Draft, DraftRequest
from gateway.demo.teacher.answers import answer_chat
from gateway.harvest.base import Row
from gateway.harvest.reader import Batch, Count, Cursor, HarvestReader
from gateway.registry.models import Registry
from gateway.specialists.base import NullListener
from gateway.specialists.host.loaded_models import LoadedModels, Version
from gateway.upstream.base import Call, Reply


class MemoryHarvest(HarvestReader):
    """Rows where the learner reads them, without the outbox's file in between."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._rows: dict[str, list[Row]] = {}

    def put(self, row: Row) -> bool:
        """Keep `row`, as the learner reads it: without the messages."""
        self._rows.setdefault(row.task, []).append(msgspec.structs.replace(row, messages=b""))
        return True

    def flush(self) -> None:
        """Every row is there already."""

    def close(self) -> None:
        """Nothing is open."""

    def counts(self) -> dict[str, Count]:
        """See HarvestReader."""
        counts = {}
        for task, rows in self._rows.items():
            held_out = sum(row.is_held_out for row in rows)
            counts[task] = Count(len(rows) - held_out, held_out)
        return counts

    def removed(self) -> dict[str, Count]:
        """Nothing is ever removed."""
        return {}

    def rows(
        self,
        task: str,
        after: Cursor | None = None,
        *,
        with_messages: bool = True,
        lessons_only: bool = False,
        newest: int | None = None,
    ) -> Batch:
        """See HarvestReader; the cursor is the number of rows read."""
        rows = self._rows.get(task, [])
        new = rows[(after or {}).get(task, 0) :]
        new = new if newest is None else new[-newest:]
        return Batch([row for row in new if row.is_lesson or not lessons_only], {task: len(rows)})


class LocalDrafter:
    """A Drafter that runs the specialist here, loading each version when it is first asked."""

    def __init__(self, models: LoadedModels, registry: Registry) -> None:
        self._models = models
        self._registry = registry

    async def load(self, task: str, version: int, folder: Path) -> None:
        """See Drafter."""
        self._models.load(Version(task, version), folder)

    async def draft(self, task: str, version: int, draft_request: DraftRequest, budget_s: float) -> Draft:
        """See Drafter."""
        key = Version(task, version)
        self._models.load(key, self._registry.folder(task, version))
        said = self._models.draft(key, draft_request, NullListener())
        return Draft(
            text=said.text,
            score=said.score,
            task=task,
            version=version,
            prompt_tokens=said.prompt_tokens,
            completion_tokens=said.completion_tokens,
            teacher_tokens=said.teacher_tokens,
            evidence=said.evidence,
            trace=said.trace,
            tokens=said.tokens,
            finish_reason=said.finish_reason,
            is_learnt=self._models.has_learnt(key, draft_request.text),
        )

    async def embed(self, text: str, budget_s: float) -> bytes:
        """See Drafter."""
        return self._models.embed(text)

    async def embed_texts(self, texts: Sequence[str]) -> list[bytes]:
        """Return the vector of each text."""
        return [self._models.embed(text) for text in texts]


class RecordedTeacher:
    """A teacher that answers with the recorded answer to the question in `pairs`."""

    def __init__(self) -> None:
        self.pairs: dict[str, str] = {}

    async def ask(self, call: Call) -> Reply:
        """See Teacher."""
        assert isinstance(call.body, bytes)
        answer = answer_chat(call.body, self.pairs, 0)
        headers = ((b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body)))
        return Reply(status=answer.status, headers=headers, body=_one_piece(answer.body))

    async def close(self) -> None:
        """Nothing is open."""


async def _one_piece(body: bytes) -> AsyncGenerator[bytes]:
    yield body
