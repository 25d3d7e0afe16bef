"""The protocols of local models: Runtime, Listener and Encoder in the model host, Drafter in the gateway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from gateway.core import Draft, DraftRequest, FinishReason, Token, Trace


class Prediction(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A runtime's answer to one input; the host adds task, version and latency.

    `score` is 0..1, higher is surer, not calibrated.
    """

    text: str
    score: float
    evidence: dict[str, float] = {}
    trace: Trace | None = None
    tokens: tuple[Token, ...] = ()
    finish_reason: FinishReason = "stop"
    completion_tokens: int = 0
    prompt_tokens: int = 0
    teacher_tokens: int = 0
    """The most tokens that the teacher was seen to take for this very answer; 0 if that is not known."""


class Listener(Protocol):
    """The receiver of one draft; every method may be called from any thread."""

    def is_cancelled(self) -> bool:
        """Whether the draft is wanted no longer: the work may end with SpecialistError("cancelled")."""

    def add_cancel_callback(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once when the draft is cancelled, at once if it is; from any thread."""

    def on_opening(self, prediction: Prediction) -> None:
        """Receive the beginning of a streamed answer, to decide on; at most once."""

    def on_piece(self, text: str) -> None:
        """Receive text that follows the opening."""


class NullListener:
    """A Listener that never cancels and ignores openings and pieces."""

    def is_cancelled(self) -> bool:
        """Never."""
        return False

    def add_cancel_callback(self, callback: Callable[[], None]) -> None:
        """Never call `callback`."""

    def on_opening(self, prediction: Prediction) -> None:
        """Ignore it: the whole answer comes at the end."""

    def on_piece(self, text: str) -> None:
        """Ignore it."""


class Runtime(Protocol):
    """A loaded specialist. Lives in the model host, never in the gateway.

    A runtime module holds `create(folder: Path, resources: SharedResources) -> Runtime`; its file name is the
    manifest's `runtime`. `folder` was verified against its manifest. `create` raises
    RegistryError for files that it cannot read.
    """

    @property
    def is_remote(self) -> bool:
        """Whether drafts are made in another process, so that many threads may wait for one at once."""

    def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
        """Return the prediction for `draft_request`; may block, is called from several threads at once.

        The same request gives the same text and score, whatever else is being drafted. A version
        that decides on the beginning of an answer (a prefix gate) sends it to the listener of a
        streamed request, and scores every answer by its beginning.

        Raises SpecialistError with the reason when there is no honest answer (input too
        long, empty input, a demand that the runtime cannot honor).
        """

    def close(self) -> None:
        """Free what the specialist holds; a draft in progress may fail."""


class Drafter(Protocol):
    """The gateway's side of the model host."""

    async def load(self, task: str, version: int, folder: Path) -> None:
        """Make `version` ready beside those that already serve.

        Raises SpecialistError when the host is down and RegistryError when it refused the
        files. Idempotent; after a restart of the host its versions are loaded again.
        """

    async def draft(self, task: str, version: int, draft_request: DraftRequest, budget_s: float) -> Draft:
        """Return a draft, or its decisive beginning, within `budget_s`; called from many tasks at once.

        A draft with a `stream` must be read to its end or closed. Raises SpecialistError with a
        countable reason in every other case: host down, overloaded, late, version unknown,
        input truncated.
        """

    async def embed(self, text: str, budget_s: float) -> bytes:
        """Return the unit embedding of `text` as float32 bytes. Raises like `draft`."""


class Vectorizer(Protocol):
    """Text to a unit vector, or to zeros; refuses the texts that the encoder refuses, as it does."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def encode(self, text: str) -> object:
        """Return the (dimension,) float32 vector of `text`, a numpy array; thread-safe."""


class Encoder(Protocol):
    """Text to a unit vector.

    An encoder module holds a frozen `Config` and `create(config: Config) -> Encoder`; its
    file name is the name in the configuration. `create` raises RegistryError.
    """

    @property
    def name(self) -> str:
        """Name and content hash: vectors of different encoders never mix."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def word_vectors(self) -> Vectorizer | None:
        """A far cheaper look at a text, for heads of two stages; None if the encoder offers none."""

    def encode(self, text: str) -> object:
        """Return the (dimension,) float32 unit vector of `text`; thread-safe.

        A numpy array: typed as an object here so that the gateway can read this file
        without numpy.
        Raises SpecialistError("input too long") instead of truncating silently.
        """
