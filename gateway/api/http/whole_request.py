"""Recognizing a packet that holds exactly one whole request, without reading what is in it."""

from __future__ import annotations

import httptools

# What is larger comes in several packets, or is rare.
MOST_BYTES = 16 << 10


class WholeRequest:
    """Looks at packets that begin a request; one serves all connections.

    The server's own parser decides where a request ends, so that no packet means one thing here and another
    there. Without callbacks for its headers it costs a microsecond.
    """

    def __init__(self) -> None:
        self._plain = _Plain()
        self._with_credential = _WithCredential()

    def is_post(self, data: bytes) -> bool:
        """Return whether `data` is one whole POST, after which its connection stays open."""
        return self._plain.is_post(data)

    def find_credential(self, data: bytes) -> bytes | None:
        """Return the Authorization header of what `is_post`, empty without one; None of anything else."""
        reader = self._with_credential
        return reader.credential if reader.is_post(data) else None


class _Plain:
    """The callbacks of one parser."""

    def __init__(self) -> None:
        self._restart()

    def is_post(self, data: bytes) -> bool:
        if len(data) > MOST_BYTES or not data.startswith(b"POST "):
            return False
        self._begun = self._ended = 0
        self._stays_open = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._restart()
            return False
        if self._begun == self._ended == 1 and self._stays_open:
            return True
        self._restart()
        return False

    def on_message_begin(self) -> None:
        """See httptools."""
        self._begun += 1

    def on_message_complete(self) -> None:
        """See httptools."""
        self._ended += 1
        # Asked later, the parser has forgotten what the head said of it.
        self._stays_open = self._parser.should_keep_alive()

    def _restart(self) -> None:
        self._parser = httptools.HttpRequestParser(self)


class _WithCredential(_Plain):
    """The same, and the first Authorization header."""

    credential = b""

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self.credential = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools; a trailer comes here, too, and is no header."""
        if not self.credential and name.lower() == b"authorization":
            self.credential = value
