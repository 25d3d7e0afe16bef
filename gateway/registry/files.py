"""Reading the files of models; every complaint names the file."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import msgspec

from gateway.errors import RegistryError

_Kind = TypeVar("_Kind")


def read_json(path: Path, kind: type[_Kind]) -> _Kind:
    """Return what the JSON file at `path` holds. Raises RegistryError when it is none, or no `kind`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, ValueError, RecursionError) as exc:
        raise RegistryError(f"{path} is unreadable: {exc}") from exc


def digest_of(path: Path) -> str:
    """Return the sha256 (hex) of a file. Raises RegistryError when it is missing or unreadable."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise RegistryError(f"{path} is missing") from None
    except OSError as exc:
        raise RegistryError(f"{path} is unreadable: {exc}") from exc


def packaged(module: str, file: str, sha256: str, remedy: str) -> Path:
    """Return the path of `file` inside the installed package `module`, if it is the pinned one.

    The package is found without importing it: it is a third party's, and only its file is wanted.
    Raises RegistryError, with the `remedy` when the package is not installed.
    """
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise RegistryError(f"the package {module} is not installed: {remedy}")
    path = Path(spec.submodule_search_locations[0]) / file
    if (digest := digest_of(path)) != sha256:
        raise RegistryError(f"{path} is not the pinned model: sha256 {digest}, expected {sha256}")
    return path
