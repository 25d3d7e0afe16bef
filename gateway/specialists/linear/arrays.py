"""Reading the arrays in a version's files; every complaint names the file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import RegistryError


@contextmanager
def open_arrays(path: Path) -> Iterator[Mapping[str, Any]]:
    """Give the arrays of a file by their names, until the block ends.

    Raises RegistryError for what cannot be read, or not be used as the block does.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
        raise RegistryError(f"{path} is unreadable: {exc}") from exc


def read_array(path: Path) -> NDArray[Any]:
    """Return the one array of a file. Raises RegistryError."""
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as exc:
        raise RegistryError(f"{path} is unreadable: {exc}") from exc
    return array
