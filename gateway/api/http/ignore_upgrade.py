"""HTTP/1.1 that ignores offers of other protocols, as RFC 9110 section 7.8 allows."""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_OFFERS = frozenset({b"upgrade", b"http2-settings"})


class IgnoreUpgradeProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, kept from losing the body of a request that offers HTTP/2 in the clear.

    Java's own client offers it with every first request. The parser takes such a head for the end
    of the message, so the head is parsed again without the offer. Websockets are not ignored.
    """

    def on_headers_complete(self) -> None:
        """See httptools."""
        if not self._ignores_offer():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools."""
        if not self._ignores_offer():
            super().on_message_complete()

    def restart_without_offer(self) -> bytes:
        """Return the head again without its offer, for the new parser that is in place from now on."""
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            if name not in _OFFERS:
                head += [name, b": ", _without_offers(value) if name == b"connection" else value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        return b"".join([*head, b"\r\n"])

    def _ignores_offer(self) -> bool:
        # A CONNECT is no offer but the request itself; the server refuses it by its target.
        is_offer = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        return is_offer and not self._should_upgrade()


def _without_offers(connection: bytes) -> bytes:
    """Return the other options of a Connection header."""
    options = (option.strip() for option in connection.split(b","))
    return b", ".join(option for option in options if option.lower() not in _OFFERS)
