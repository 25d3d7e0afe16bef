"""Recognizes a known task behind a slightly different template: another date, name or comma."""

from __future__ import annotations

import hashlib
import operator
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from gateway.core import Request, Route, copy_keys
from gateway.errors import SpecialistError
from gateway.routing.base import Embedder, KnownTask, KnownTasks, NearCopies
from gateway.routing.variation import Variation, compare_templates

_NOT_EMBEDDABLE = frozenset({"input too long", "input unreadable", "empty input"})
"""Reasons that lie in the text itself: asking again would not help."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The nearness at which two templates are one task."""

    min_similarity: float = 0.92
    """Least cosine to the nearest task's template."""
    min_margin: float = 0.02
    """Least lead of the nearest task over the second nearest."""
    budget_s: float = 0.25
    """Seconds that an embedding may take."""
    cached: int = 4_096
    """Embeddings kept, 1.6 KB each."""


def create(config: Config, tasks: KnownTasks, copies: NearCopies, embedder: Embedder) -> EmbeddingClassifier:
    """Return the classifier."""
    return EmbeddingClassifier(config, tasks, copies, embedder)


class EmbeddingClassifier:
    """Compares a request's template (its text, if it has none) with those of the adopted tasks.

    Only tasks with the request's own contract are compared: with another model, tool or
    response_format it is another task, even if the words are the same.
    """

    def __init__(self, config: Config, tasks: KnownTasks, copies: NearCopies, embedder: Embedder) -> None:
        self._config = config
        self._tasks = tasks
        self._copies = copies
        self._embedder = embedder
        self._vectors: OrderedDict[bytes, bytes] = OrderedDict()
        self._variations: OrderedDict[tuple[str, str], Variation] = OrderedDict()

    async def classify(self, request: Request, scope: str) -> Route | None:
        """Return the one task that is near enough, else None. Raises SpecialistError if the host fails.

        If there is no task to compare with, nothing is embedded, so a gateway that has not
        learned anything yet does not need the host.
        """
        wanted = (scope, request.contract_hash)
        candidates = [known for known in self._tasks.all() if (known.scope, known.contract_hash) == wanted]
        if not candidates:
            return None
        vector = await self._embed(request.template_text or request.text)
        route = self._nearest(vector, candidates)
        return self._admit(request, route) if route else None

    def _admit(self, request: Request, route: Route) -> Route | None:
        """Return `route` as far as this near copy has proved that it is the same task.

        None for a copy that has proved to be another one.
        """
        variation = self._compare(request, route.task)
        if variation.is_volatile:
            return route
        place = msgspec.structs.replace(route, place=variation.place)
        status = self._copies.status_of(route.task, *copy_keys(request.template, variation.place))
        if status is None:
            return msgspec.structs.replace(place, is_on_probation=True)
        return place if status == "known" else None

    def _compare(self, request: Request, task: str) -> Variation:
        key = (task, request.template)
        if (known := self._variations.get(key)) is not None:
            self._variations.move_to_end(key)
            return known
        own = self._tasks.get(task)
        variation = compare_templates(own.template_text if own else "", request.template_text)
        self._variations[key] = variation
        if len(self._variations) > self._config.cached:
            self._variations.popitem(last=False)
        return variation

    def _nearest(self, vector: bytes, candidates: Sequence[KnownTask]) -> Route | None:
        # A task adopted without a vector, or under another encoder, has another length.
        cosines = [
            (_dot_product(vector, known.vector), known.task)
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

    async def _embed(self, text: str) -> bytes:
        """Return the embedding of `text`, from the cache if it is there; empty if it has none."""
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if (known := self._vectors.get(key)) is not None:
            self._vectors.move_to_end(key)
            return known
        try:
            vector = await self._embedder.embed(text, self._config.budget_s)
        except SpecialistError as exc:
            if exc.reason not in _NOT_EMBEDDABLE:
                raise
            vector = b""
        self._vectors[key] = vector
        if len(self._vectors) > self._config.cached:
            self._vectors.popitem(last=False)
        return vector


def _dot_product(one: bytes, other: bytes) -> float:
    # numpy stays out of the gateway's workers: in plain Python, 384 products take 15 us.
    return float(sum(map(operator.mul, memoryview(one).cast("f"), memoryview(other).cast("f"))))
