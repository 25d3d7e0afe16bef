"""Unix sockets in private folders: paths of any length, and peers of this user alone."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The longest path of a Unix socket is 108 bytes on Linux, 104 on macOS.
MAX_SOCKET_PATH = 100
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group, as SO_PEERCRED tells them."""


class StrangerError(OSError):
    """The other end of a socket belongs to another user."""


def listen_privately(path: Path) -> socket.socket:
    """Return a listening socket at `path`, for this user alone, in place of an older one.

    Raises OSError if the folder is another user's, or open to others.
    """
    _refuse_shared_folder(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o177)
    try:
        with _short_path(path) as short:
            listener.bind(short)
        listener.listen(256)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(previous)
    return listener


def connect_privately(path: Path) -> socket.socket:
    """Return a socket connected to `path`. Raises StrangerError, with nothing sent, if not to this user."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.setblocking(False)
    try:
        with _short_path(path) as short:
            connected.connect(short)
        refuse_stranger(connected)
    except BaseException:
        connected.close()
        raise
    return connected


def refuse_stranger(connected: socket.socket) -> None:
    """Raise StrangerError if the other end of a Unix socket belongs to another user; root is one too."""
    user = _read_peer(connected)
    if user != os.geteuid():
        raise StrangerError(f"the other end belongs to user {user}, not to {os.geteuid()}")


def _read_peer(connected: socket.socket) -> int:
    if hasattr(socket, "SO_PEERCRED"):
        facts = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(facts)[1])
    # macOS, from sys/un.h: LOCAL_PEERCRED of SOL_LOCAL gives a version and then the user.
    facts = connected.getsockopt(0, 1, 8)
    return int(struct.unpack("2i", facts)[1])


def _refuse_shared_folder(folder: Path) -> None:
    facts = folder.stat()
    if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise PermissionError(f"{folder} must be this user's alone (mode 0700)")


@contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """Give a spelling of `path` that fits into a socket's address, whatever the length of its folder."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
