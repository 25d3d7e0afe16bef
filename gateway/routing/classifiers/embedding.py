"""Recognises a known task behind a template which differs a little: a date, a name, a new comma."""

from __future__ import annotations

import hashlib
import operator
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from gateway.core import Request, Route
from gateway.errors import SpecialistError
from gateway.routing.base import Embedder, KnownTask, KnownTasks

_CANNOT_TELL = frozenset({"input too long", "input unreadable", "empty input"})
"""Reasons which lie in the text itself: asking again would not help."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When two templates are one task."""

    min_similarity: float = 0.92
    """Cosine to the nearest task's template."""
    min_margin: float = 0.02
    """Lead of the nearest task over the second."""
    budget_s: float = 0.25
    cached: int = 4_096
    """Embeddings kept, 1.6 KB each."""


def create(config: Config, tasks: KnownTasks, embedder: Embedder) -> EmbeddingClassifier:
    """Return the classifier."""
    return EmbeddingClassifier(config, tasks, embedder)


class EmbeddingClassifier:
    """Compares a request's template (its text, when it has none) with those of the adopted tasks.

    Only tasks with the request's own contract count: however alike the words, another model,
    tool or response_format is another task.
    """

    def __init__(self, config: Config, tasks: KnownTasks, embedder: Embedder) -> None:
        self._config = config
        self._tasks = tasks
        self._embedder = embedder
        self._vectors: OrderedDict[bytes, bytes] = OrderedDict()

    async def classify(self, request: Request) -> Route | None:
        """Return the one task which is near enough, else None. Raises SpecialistError when the host fails.

        Without a task to compare with nothing is embedded, so that a gateway which has
        learnt nothing yet does not need the host.
        """
        candidates = [known for known in self._tasks.all() if known.contract_hash == request.contract_hash]
        if not candidates:
            return None
        vector = await self._vector(request.template_text or request.text)
        return self._nearest(vector, candidates)

    def _nearest(self, vector: bytes, candidates: Sequence[KnownTask]) -> Route | None:
        # A task adopted without a vector, or under another encoder, has another length.
        cosines = [
            (_dot(vector, known.vector), known.task)
            for known in candidates
            if len(known.vector) == len(vector)
        ]
        if not vector or not cosines:
            return None
        cosines.sort(reverse=True)
        similarity, task = cosines[0]
        lead = similarity - cosines[1][0] if len(cosines) > 1 else 1.0
        if similarity < self._config.min_similarity or lead < self._config.min_margin:
            return None
        return Route(task, "embedding", min(similarity, 1.0))

    async def _vector(self, text: str) -> bytes:
        """Return the embedding of `text`, empty when it has none."""
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if (known := self._vectors.get(key)) is not None:
            self._vectors.move_to_end(key)
            return known
        try:
            vector = await self._embedder.embed(text, self._config.budget_s)
        except SpecialistError as fault:
            if fault.reason not in _CANNOT_TELL:
                raise
            vector = b""
        self._vectors[key] = vector
        if len(self._vectors) > self._config.cached:
            self._vectors.popitem(last=False)
        return vector


def _dot(one: bytes, other: bytes) -> float:
    # Without numpy, which stays out of the gateway's workers: 384 products take 15 us.
    return float(sum(map(operator.mul, memoryview(one).cast("f"), memoryview(other).cast("f"))))
