"""The path of the model host's Unix socket."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

# The longest path of a Unix socket is 108 bytes on Linux, 104 on macOS.
MAX_SOCKET_PATH = 100


def socket_path(home: Path) -> Path:
    """Return host.sock in `home`, or a path in the temporary folder if that is too long for a socket."""
    path = home / "host.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"stepdown-{os.getuid()}-{digest}.sock"
