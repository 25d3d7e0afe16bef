"""The handshake of a websocket: the headers of it that are a proxy's own affair."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core import Header

UPGRADE: tuple[Header, ...] = ((b"connection", b"Upgrade"), (b"upgrade", b"websocket"))
"""What each side of a proxy says anew, on its own connection (RFC 6455 section 4.1)."""

_EXTENSIONS = b"sec-websocket-extensions"
_COMPRESSION = b"permessage-deflate"
_NO_TAKEOVER = b"client_no_context_takeover"
_PROTOCOLS = b"sec-websocket-protocol"
_KEY = b"openai-insecure-api-key."
# Browsers cannot set headers on a websocket: OpenAI lets them offer these as subprotocols.
_CREDENTIALS = (_KEY, b"openai-organization.", b"openai-project.")


def offered_key(headers: Iterable[Header]) -> bytes | None:
    """Return the API key that a browser offered as a subprotocol, None if it offered none."""
    keys = (name.removeprefix(_KEY) for name in _offered(headers) if name.startswith(_KEY))
    return next(keys, None)


def is_compressed(headers: Iterable[Header]) -> bool:
    """Return whether both ends may compress messages: the teacher's `headers` have the last word."""
    return any(_COMPRESSION in value for name, value in headers if name == _EXTENSIONS)


def only_readable(headers: Iterable[Header]) -> list[Header]:
    """Return `headers` without the extensions that would keep the gateway from reading what is said."""
    kept = [(name, _readable(value) if name == _EXTENSIONS else value) for name, value in headers]
    return [header for header in kept if header[0] != _EXTENSIONS or header[1]]


def without_takeover(headers: Iterable[Header]) -> list[Header]:
    """Return the teacher's `headers` so that the client compresses each message by itself.

    A server may ask for that unoffered (RFC 7692 section 7.1.1.2). Else a message that the gateway keeps
    back would be missing where the next one is decompressed.
    """
    return [(name, _add_no_takeover(value) if name == _EXTENSIONS else value) for name, value in headers]


def without_credentials(headers: Iterable[Header]) -> list[Header]:
    """Return `headers` without the subprotocols that are credentials; the others keep their order."""
    stripped = [(name, _harmless(value) if name == _PROTOCOLS else value) for name, value in headers]
    return [header for header in stripped if header[0] != _PROTOCOLS or header[1]]


def _offered(headers: Iterable[Header]) -> list[bytes]:
    return [one for name, value in headers if name == _PROTOCOLS for one in _split(value)]


def _readable(value: bytes) -> bytes:
    return b", ".join(one for one in _split(value) if one.partition(b";")[0].strip() == _COMPRESSION)


def _add_no_takeover(value: bytes) -> bytes:
    return b", ".join(
        one + b"; " + _NO_TAKEOVER if _COMPRESSION in one and _NO_TAKEOVER not in one else one
        for one in _split(value)
    )


def _harmless(value: bytes) -> bytes:
    return b", ".join(one for one in _split(value) if not one.startswith(_CREDENTIALS))


def _split(value: bytes) -> list[bytes]:
    return [one.strip() for one in value.split(b",")]
