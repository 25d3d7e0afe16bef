"""What a websocket's client has sent and the teacher does not have yet."""

from __future__ import annotations

from gateway.api.http.memory import COPIES, FREE_BYTES, MemoryBudget
from gateway.wire.websocket.frames import FrameError, FrameParser, Part
from gateway.wire.websocket.messages import Message, MessageReader

# The longest message that is read; OpenAI takes events with up to 15 MiB of audio, as base64.
MOST_HELD_BYTES = 24 << 20


class ClientStream:
    """Holds each message back until it is whole, within `memory`, and reads it."""

    def __init__(self, memory: MemoryBudget, *, takes_compressed: bool) -> None:
        self.unread = b""
        """Bytes that are no frames, or follow such."""
        self.is_unreadable = False
        """Whether what is held is too long to be read, or cannot be decompressed."""
        self._is_broken = False
        self._is_passing = False
        self._parser = FrameParser(takes_compressed=takes_compressed)
        self._reader = MessageReader(MOST_HELD_BYTES)
        self._memory = memory
        self._room = 0
        self._held: list[bytes] = []
        self._size = 0

    @property
    def is_between_messages(self) -> bool:
        """Whether nothing of a message has come that is not whole yet."""
        return not (self._held or self._is_passing or self.unread or self._parser.pending)

    def feed(self, data: bytes) -> list[Part]:
        """Return the parts of frames in `data`; none, with all of it `unread`, if they are no frames."""
        pending = self._parser.pending
        try:
            return self._parser.feed(data)
        except FrameError:
            self.unread = pending + data
            return []

    def passes(self, part: Part) -> bool:
        """Return whether `part` belongs to a message that passes unread."""
        if not self._is_passing:
            return False
        # Compressed messages refer to what came before them.
        self._read(part)
        self._is_passing = not part.ends_message
        return True

    def pass_rest(self, part: Part) -> None:
        """Let the rest of a message pass; `part` is the last that was held."""
        self._is_passing = not part.ends_message

    def hold(self, part: Part) -> Message | None:
        """Hold a part back; return its message if it is the last one."""
        self._held.append(part.raw)
        self._size += len(part.raw)
        message = self._read(part)
        self.is_unreadable = self._is_broken or self._size > MOST_HELD_BYTES or not self._has_room()
        return message

    def release(self) -> list[bytes]:
        """Return what is held, and hold it no more."""
        held, self._held, self._size = self._held, [], 0
        if self._room:
            self._memory.give_back(self._room)
            self._room = 0
        return held

    def _read(self, part: Part) -> Message | None:
        if self._is_broken:
            return None
        try:
            return self._reader.take(part)
        except FrameError:
            self._is_broken = True
            return None

    def _has_room(self) -> bool:
        wanted = self._size * COPIES
        if self._size <= FREE_BYTES or wanted <= self._room:
            return True
        # In large steps, lest it asks with every piece.
        more = 2 * wanted - self._room
        if not self._memory.take_now(more):
            return False
        self._room += more
        return True
