"""A small decoder that writes its answers, with one adapter per task on a base that all share."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from gateway.core import DraftRequest
from gateway.errors import RegistryError, SpecialistError
from gateway.registry.files import read_json
from gateway.specialists import knn
from gateway.specialists.base import Encoder, Listener, NullListener, Prediction
from gateway.specialists.engine.client import EngineClient
from gateway.specialists.knn import NearestNeighbors
from gateway.specialists.shared_resources import SharedResources

ADAPTER = "adapter.onnx_adapter"
CARD = "genai.json"


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one version.

    `base_digest` is that of the base that the adapter was trained on. An answer has at most
    `max_new_tokens`. With `hold_back`, drafts are scored by their first so many tokens, and a
    streamed answer goes out once these were decided on.
    """

    base: str
    base_digest: str
    max_new_tokens: int
    hold_back: int | None = None


def write_card(card: Card, folder: Path) -> None:
    """Write `card` into `folder` as genai.json."""
    (folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card)))


def read_card(folder: Path) -> Card:
    """Return the card in `folder`. Raises RegistryError naming the file."""
    return read_json(folder / CARD, Card)


def create(folder: Path, resources: SharedResources) -> GenaiRuntime:
    """Return the runtime of the adapter in `folder`; its base is verified and both are loaded.

    Raises RegistryError naming the file, or if the adapter belongs to another base.
    """
    card = read_card(folder)
    if not (folder / ADAPTER).is_file():
        raise RegistryError(f"{folder / ADAPTER} is missing")
    neighbors = knn.read_neighbors(folder, resources.encoder.dimension)
    engine = resources.engines.open_engine(card.base, card.base_digest)
    runtime = GenaiRuntime(card, folder / ADAPTER, engine, neighbors, resources.encoder)
    runtime.warm_up()
    return runtime


class GenaiRuntime:
    """Drafts by greedy decoding."""

    is_remote = True

    def __init__(
        self, card: Card, adapter: Path, engine: EngineClient, neighbors: NearestNeighbors, encoder: Encoder
    ) -> None:
        self._card = card
        self._adapter = adapter
        self._engine = engine
        self._neighbors = neighbors
        self._encoder = encoder

    def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
        """Return the most probable answer; thread-safe, the same numbers for the same text.

        `score` is the probability of the least sure token. Raises SpecialistError as the engine does.
        """
        if not draft_request.text.strip():
            raise SpecialistError("empty input")
        prediction = self._engine.draft(
            self._adapter,
            draft_request,
            listener,
            max_new_tokens=self._card.max_new_tokens,
            hold_back=self._card.hold_back,
        )
        return msgspec.structs.replace(
            prediction, evidence=prediction.evidence | self._similarity(draft_request.text)
        )

    def warm_up(self) -> None:
        """Load the base and the adapter: the first client's time would not suffice.

        An engine that cannot do it now refuses the drafts to come.
        """
        with suppress(SpecialistError):
            self._engine.draft(
                self._adapter, DraftRequest(text="hello"), NullListener(), max_new_tokens=1, hold_back=None
            )

    def close(self) -> None:
        """Free the adapter's memory in the engine."""
        self._engine.unload_adapter(self._adapter)

    def _similarity(self, text: str) -> dict[str, float]:
        try:
            embedding = np.asarray(self._encoder.encode(text), np.float32)
        except SpecialistError:
            # Longer than the encoder reads: the decoder reads more.
            return {}
        return {"similarity": self._neighbors.similarity(embedding)}
