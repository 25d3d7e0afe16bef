"""A model in a folder of this machine."""

from __future__ import annotations

from pathlib import Path

from gateway.distill.base_models.base import FetchedModel, digest_weights
from gateway.errors import RegistryError


def fetch(address: str) -> FetchedModel:
    """Return the model in the folder at the path `address`."""
    folder = Path(address).expanduser().absolute()
    if not folder.is_dir():
        raise RegistryError(f"{folder} is not a folder; other sources: hf:org/name@revision, pypi:package")
    # Not the path: it is published with the model and would tell others about this machine.
    return FetchedModel(
        folder=folder,
        name=folder.name.lower(),
        source=f"folder:{folder.name}",
        sha256=digest_weights(folder),
    )
