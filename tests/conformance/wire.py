"""HTTP/1.1 as bytes, for a client and a teacher that must see exactly what was sent."""

from __future__ import annotations

import socket

import msgspec

LINE = b"\r\n"


class Head(msgspec.Struct, frozen=True):
    """First line and header lines of a message, spelled as they arrived."""

    first: str
    lines: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """Return every value of a header, in order."""
        return [value for key, value in self.lines if key.lower() == name]

    def value(self, name: str) -> str | None:
        """Return the only value of a header, None without one."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None


class MessageReader:
    """Reads heads, bodies and lines from a socket. Raises EOFError if the connection ends inside one."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._held = b""

    def read_some(self) -> bytes:
        """Return bytes as they arrive, empty at the end."""
        if self._held:
            held, self._held = self._held, b""
            return held
        return self._socket.recv(65536)

    def read_until(self, mark: bytes) -> bytes:
        """Return the bytes up to and including `mark`."""
        data = b""
        while mark not in data:
            if not (piece := self.read_some()):
                raise EOFError(data)
            data += piece
        end = data.index(mark) + len(mark)
        self._held = data[end:] + self._held
        return data[:end]

    def read_exactly(self, size: int) -> bytes:
        """Return `size` bytes."""
        pieces: list[bytes] = []
        while size > 0:
            if not (piece := self.read_some()):
                raise EOFError(b"".join(pieces))
            pieces.append(piece[:size])
            self._held = piece[size:] + self._held
            size -= len(pieces[-1])
        return b"".join(pieces)

    def read_head(self) -> Head | None:
        """Return the next head; None if the connection ended before it."""
        try:
            first, *lines = self.read_until(LINE + LINE).decode("latin-1").split("\r\n")[:-2]
        except EOFError:
            return None
        pairs = (line.partition(":") for line in lines)
        return Head(first, tuple((name, value.strip()) for name, _, value in pairs))


def read_body(reader: MessageReader, head: Head, *, ends_by_close: bool = False) -> bytes:
    """Return the body that `head` announces. Raises EOFError with the bytes so far if it is not whole."""
    if "chunked" in map(str.lower, head.values("transfer-encoding")):
        return _chunks(reader)
    if sizes := head.values("content-length"):
        return reader.read_exactly(int(sizes[0]))
    pieces = []
    while ends_by_close and (piece := reader.read_some()):
        pieces.append(piece)
    return b"".join(pieces)


def _chunks(reader: MessageReader) -> bytes:
    data = b""
    try:
        while size := int(reader.read_until(LINE).split(b";")[0], 16):
            data += reader.read_exactly(size)
            reader.read_exactly(2)
        while reader.read_until(LINE) != LINE:
            pass
    except (EOFError, ConnectionResetError) as exc:
        rest = exc.args[0] if isinstance(exc, EOFError) and exc.args else b""
        raise EOFError(data + rest) from exc
    return data
