"""The part of a long answer that its price is read from, found while the answer passes."""

from __future__ import annotations

from gateway.core import Excerpt
from gateway.wire.answer_decoding import DamagedAnswerError, create_decoder

HEAD_BYTES = 256 << 10
# A response's `user` and `metadata` follow its usage, 16 pairs of them.
TAIL_BYTES = 64 << 10
PLACE_BYTES = 4 << 10
# Schemas of tools may have keys of that name; the answer's own usage is the first or one of the last.
MOST_PLACES = 8
# Past it only the end of what came so far is known: reading on would cost more than such an answer does.
MOST_DECODED_BYTES = 256 << 20

_KEY = b'"usage"'


class LongAnswer:
    """Takes the pieces of an answer, still encoded as `encoding` says; holds 400 KiB however long it is.

    What cannot be decoded ends it: the excerpt is then of what came before.
    """

    def __init__(self, encoding: str) -> None:
        self._decoder = create_decoder(encoding)
        self._head = bytearray()
        self._tail = bytearray()
        self._places: list[bytearray] = []
        self._size = 0
        self._is_readable = True

    def take(self, piece: bytes) -> None:
        """Take the next bytes."""
        if not self._is_readable:
            return
        try:
            for part in self._decoder.decode(piece):
                self._take_decoded(part)
                if self._size > MOST_DECODED_BYTES:
                    self._is_readable = False
                    return
        except DamagedAnswerError:
            self._is_readable = False

    def excerpt(self) -> Excerpt:
        """Return what is known so far."""
        return Excerpt(
            head=bytes(self._head),
            tail=bytes(self._tail[-TAIL_BYTES:]),
            usages=tuple(bytes(place) for place in self._places),
            size_bytes=self._size,
        )

    def _take_decoded(self, part: bytes) -> None:
        self._size += len(part)
        if len(self._head) < HEAD_BYTES:
            self._head += part[: HEAD_BYTES - len(self._head)]
        self._note_places(part)
        self._tail += part[-TAIL_BYTES:]
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]

    def _note_places(self, part: bytes) -> None:
        if self._places and (missing := PLACE_BYTES - len(self._places[-1])) > 0:
            self._places[-1] += part[:missing]
        # The key may be split between two parts.
        before = bytes(self._tail[-(len(_KEY) - 1) :])
        seen = before + part
        at = seen.find(_KEY)
        while at >= 0:
            self._add_place(seen[at : at + PLACE_BYTES])
            at = seen.find(_KEY, at + len(_KEY))

    def _add_place(self, place: bytes) -> None:
        if len(self._places) >= MOST_PLACES:
            # The first stays: the usage of an image stands before its bytes.
            del self._places[1]
        self._places.append(bytearray(place))
