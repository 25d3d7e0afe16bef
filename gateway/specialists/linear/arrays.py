"""Reading the arrays of a head's files; every complaint names the file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

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
