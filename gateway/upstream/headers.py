"""Which headers end at a proxy, so that exactly the others travel on."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from gateway.core import Header

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110 section 7.6.1, with the two which old clients still send."""

READABLE_ENCODINGS = frozenset({b"gzip", b"deflate", b"identity"})
"""Content encodings which stepdown can read afterwards with the standard library alone."""


def end_to_end(headers: Iterable[Header], dropped: frozenset[bytes] = HOP_BY_HOP) -> list[Header]:
    """Return `headers` without `dropped` and without those which Connection names.

    Order and duplicates are kept, names come out in lower case. `dropped` holds HOP_BY_HOP.
    """
    kept: list[Header] = []
    named: set[bytes] = set()
    for cased_name, value in headers:
        name = cased_name.lower()
        if name not in dropped:
            kept.append((name, value))
        elif name == b"connection":
            named.update(token.strip() for token in value.lower().split(b","))
    return [header for header in kept if header[0] not in named] if named else kept


@lru_cache(maxsize=64)
def readable(accept_encoding: bytes) -> bytes:
    """Return the part of an Accept-Encoding value which stepdown can read, `identity` if none.

    Weights are kept. `*` goes: it would allow what cannot be read.
    """
    offers = [offer.strip() for offer in accept_encoding.lower().split(b",")]
    kept = [offer for offer in offers if offer.partition(b";")[0].strip() in READABLE_ENCODINGS]
    return b", ".join(kept) or b"identity"
