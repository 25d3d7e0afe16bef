"""A model on an OpenAI-compatible server elsewhere: vLLM, SGLang, llama.cpp, another stepdown."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from gateway.core import DraftRequest
from gateway.errors import SpecialistError
from gateway.registry.files import read_json
from gateway.specialists import knn
from gateway.specialists.base import Encoder, Listener, Prediction
from gateway.specialists.engine.prompt import Prompter
from gateway.specialists.knn import NearestNeighbors
from gateway.specialists.remote.adapters import share_adapter
from gateway.specialists.remote.identity import Identity, describe_difference
from gateway.specialists.remote.pool import RemoteEngines
from gateway.specialists.remote.prompt import Prompt, TrainedAdapter
from gateway.specialists.shared_resources import SharedResources

CARD = "openai.json"


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one version.

    `engine` is a name in `[specialists.engines]`, `identity` the model that it ran when the version was
    validated. `opening` are the messages before each text. With `hold_back`, drafts are scored by their
    first so many tokens. With `has_adapter`, an adapter in PEFT form lies beside the
    card, with the card and the tokenizer of the base that it was trained on.
    """

    engine: str
    identity: Identity
    max_new_tokens: int
    hold_back: int | None = None
    opening: tuple[dict[str, str], ...] = ()
    has_adapter: bool = False


def write_card(card: Card, folder: Path) -> None:
    """Write `card` into `folder` as openai.json."""
    (folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card)))


def read_card(folder: Path) -> Card:
    """Return the card in `folder`. Raises RegistryError naming the file."""
    return read_json(folder / CARD, Card)


def describe_change(card: Card, engines: RemoteEngines) -> str:
    """Return how the engine's model differs from the one that was validated; empty if it does not.

    Also empty while no server answers: then nothing is known, and nothing is served.
    Raises RegistryError if the settings name no such engine.
    """
    try:
        return describe_difference(card.identity, engines.identify(card.engine))
    except SpecialistError:
        return ""


def create(folder: Path, resources: SharedResources) -> OpenaiRuntime:
    """Return the runtime of the card in `folder`; its adapter is handed over. No server is asked yet.

    Raises RegistryError naming the file, or if the settings name no such engine.
    """
    card = read_card(folder)
    config = resources.remote_engines.config_of(card.engine)
    prompt = Prompt(
        opening=card.opening,
        max_new_tokens=card.max_new_tokens,
        hold_back=card.hold_back,
        identity=card.identity,
        trained=TrainedAdapter(share_adapter(folder, config), Prompter(folder).encode_prompt)
        if card.has_adapter
        else None,
    )
    neighbors = knn.read_neighbors(folder, resources.encoder.dimension)
    return OpenaiRuntime(card.engine, prompt, resources.remote_engines, neighbors, resources.encoder)


class OpenaiRuntime:
    """Drafts by the servers of one engine, as long as they run the model that was validated."""

    is_remote = True

    def __init__(
        self,
        engine: str,
        prompt: Prompt,
        engines: RemoteEngines,
        neighbors: NearestNeighbors,
        encoder: Encoder,
    ) -> None:
        self._engine = engine
        self._prompt = prompt
        self._engines = engines
        self._neighbors = neighbors
        self._encoder = encoder

    def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
        """Return the most probable answer; thread-safe.

        `score` is the probability of the least sure token. The same text gives the same answer as far as
        the server keeps to it: the certificate rests on what it said. Raises SpecialistError.
        """
        if not draft_request.text.strip():
            raise SpecialistError("empty input")
        similarity = self._similarity(draft_request.text)
        prediction = self._engines.draft(self._engine, self._prompt, draft_request, listener)
        return msgspec.structs.replace(prediction, evidence=prediction.evidence | similarity)

    def close(self) -> None:
        """Do nothing: other processes may use the adapter there, and servers drop what is used least."""

    def _similarity(self, text: str) -> dict[str, float]:
        try:
            embedding = np.asarray(self._encoder.encode(text), np.float32)
        except SpecialistError:
            # Longer than the encoder reads: the server reads more.
            return {}
        return {"similarity": self._neighbors.similarity(embedding)}
