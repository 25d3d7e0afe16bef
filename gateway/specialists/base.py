"""What a runtime must promise inside the model host, and what the gateway may ask of the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from gateway.core import Draft, DraftRequest, FinishReason, Token, Trace


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What a runtime proposes for one input; the host adds who and how long.

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


class Listener(Protocol):
    """Whoever waits for a draft; every method may be called from any thread."""

    def has_left(self) -> bool:
        """Whether nobody waits any more: the work may end with SpecialistError("cancelled")."""

    def when_left(self, act: Callable[[], None]) -> None:
        """Have `act` called once when the listener leaves, at once if it has; from any thread."""

    def opening(self, prediction: Prediction) -> None:
        """Hear the beginning of an answer on which to decide; at most once, only if streamed."""

    def piece(self, text: str) -> None:
        """Hear what follows the opening."""


class NullListener:
    """A Listener which waits patiently and does not care for beginnings."""

    def has_left(self) -> bool:
        """Never."""
        return False

    def when_left(self, act: Callable[[], None]) -> None:
        """Never call `act`."""

    def opening(self, prediction: Prediction) -> None:
        """Ignore it: the whole answer comes at the end."""

    def piece(self, text: str) -> None:
        """Ignore it."""


class Runtime(Protocol):
    """A loaded specialist. Lives in the model host, never in the gateway.

    A runtime module holds `create(folder: Path, resources: SharedResources) -> Runtime`; its file name is the
    manifest's `runtime`. `folder` was verified against its manifest. `create` raises
    RegistryError for files it cannot read.
    """

    @property
    def is_remote(self) -> bool:
        """Whether drafts are made in another process, so that many may wait for theirs at once."""

    def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
        """Return the proposal for `draft_request`; may block, is called from several threads at once.

        The same brief gives the same text and score, whoever else is asking. A version which
        decides on the beginning of an answer (a prefix gate) lets a streamed brief's listener
        hear it, and scores every answer by its beginning.

        Raises SpecialistError with the reason when there is no honest answer (input too
        long, empty input, a demand which the runtime cannot honour).
        """

    def close(self) -> None:
        """Free what the specialist holds; a draft in the making may fail."""


class Drafter(Protocol):
    """The gateway's side of the model host."""

    async def load(self, task: str, version: int, folder: Path) -> None:
        """Make `version` ready beside the ones which already serve.

        Raises SpecialistError when the host is down and RegistryError when it refused the
        files. Idempotent; a restarted host loads again what it was told before.
        """

    async def draft(self, task: str, version: int, draft_request: DraftRequest, budget_s: float) -> Draft:
        """Return a draft, or its decisive beginning, within `budget_s`; called from many tasks at once.

        A draft with a `stream` must be read to its end or closed. Raises SpecialistError with a
        countable reason in every other case: host down, overloaded, late, version unknown,
        input truncated.
        """

    async def embed(self, text: str, budget_s: float) -> bytes:
        """Return the unit embedding of `text` as float32 bytes. Raises like `draft`."""


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

    def encode(self, text: str) -> object:
        """Return the (dimension,) float32 unit vector of `text`; thread-safe.

        A numpy array: typed as an object here so that the gateway can read this file
        without numpy.
        Raises SpecialistError("input too long") instead of truncating silently.
        """
