"""Base models of decoders on the storage that machines share: without its base an adapter serves nowhere."""

from __future__ import annotations

import logging
from pathlib import Path

from gateway.errors import RegistryError
from gateway.registry.models import Registry
from gateway.registry.shared import SharedRegistry
from gateway.specialists.engine.base_model import base_digest
from gateway.specialists.runtimes import genai

logger = logging.getLogger(__name__)


class SharedBases:
    """The bases of this machine and those at the storage. Methods may block for minutes."""

    def __init__(self, folder: Path, shared: SharedRegistry) -> None:
        """`folder` is that of this machine's bases, and `shared` has its copies there, too."""
        self._own = Registry(folder)
        self._shared = shared

    def require_base(self, folder: Path) -> None:
        """Have the base that the version in `folder` was trained on, if it needs one: that very one.

        Raises RegistryError if no machine has published it, or the storage is away.
        """
        if not (folder / genai.CARD).exists():
            return
        card = genai.read_card(folder)
        if self._has(card.base, card.base_digest):
            return
        for version in self._shared.versions(card.base):
            self._shared.pull(card.base, version)
        if not self._has(card.base, card.base_digest):
            raise RegistryError(
                f"its base {card.base!r} ({card.base_digest[:16]}...) is neither here nor in the storage; "
                "the machine that has it publishes it"
            )
        logger.info("the base %s was pulled", card.base)

    def publish_own(self) -> int:
        """Publish the bases of this machine that the storage lacks; return how many.

        Of two conversions under one name the first counts; the adapters of the other one serve where it is.
        """
        own = [(name, version) for name in self._own.tasks() for version in self._own.versions(name)]
        return sum(self._shared.share(name, version) for name, version in own)

    def _has(self, base: str, digest: str) -> bool:
        manifests = [self._own.read(base, version) for version in self._own.versions(base)]
        return any(base_digest(manifest) == digest for manifest in manifests)
