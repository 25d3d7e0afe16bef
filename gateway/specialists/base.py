"""What a runtime must promise inside the model host, and what the gateway may ask of the host."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from gateway.core import Draft


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What a runtime proposes for one input; the host adds who and how long.

    `score` is 0..1, higher is surer, not calibrated.
    """

    text: str
    score: float
    evidence: dict[str, float] = {}
    completion_tokens: int = 0
    prompt_tokens: int = 0


class Runtime(Protocol):
    """A loaded specialist. Lives in the model host, never in the gateway.

    A runtime module holds `create(folder: Path, encoder: Encoder) -> Runtime`; its file
    name is the manifest's `runtime`. `folder` was verified against its manifest, `encoder`
    is the host's only one and is shared. `create` raises RegistryError for files it cannot read.
    """

    def draft(self, text: str) -> Proposal:
        """Return the proposal for `text`; may block, is called from several threads at once.

        Raises SpecialistError with the reason when there is no honest answer (input too
        long for the encoder, empty input).
        """


class Drafter(Protocol):
    """The gateway's side of the model host."""

    async def load(self, task: str, version: int, folder: Path) -> None:
        """Make `version` ready beside the ones which already serve.

        Raises SpecialistError when the host is down and RegistryError when it refused the
        files. Idempotent; a restarted host loads again what it was told before.
        """

    async def draft(self, task: str, version: int, text: str, budget_s: float) -> Draft:
        """Return a draft within `budget_s`; called from many tasks at once.

        Raises SpecialistError with a countable reason in every other case: host down,
        overloaded, late, version unknown, input truncated.
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
