"""Which headers end at a proxy, so that exactly the others travel on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
"""RFC 9110 section 7.6.1, with the two that old clients still send."""

READABLE_ENCODINGS = frozenset({b"gzip", b"deflate", b"identity"})
"""Content encodings that stepdown can read afterwards with the standard library alone."""

_MOST_VERDICTS = 4096


class HeaderFilter(dict[bytes, bool]):
    """Tells by `filter[name]` whether a header is dropped; names in lower case.

    A name is judged once, so that long lists and prefixes cost no more than a look-up. Where
    `takes_underscores`, `x_real_ip` is judged as `x-real-ip`: to servers of CGI's family they are one
    (RFC 3875 section 4.1.18).
    """

    def __init__(
        self, names: Iterable[bytes], prefixes: tuple[bytes, ...] = (), *, takes_underscores: bool = False
    ) -> None:
        super().__init__()
        self._takes_underscores = takes_underscores
        self._names = frozenset(names)
        self._prefixes = prefixes

    def __missing__(self, name: bytes) -> bool:
        judged = name.replace(b"_", b"-") if self._takes_underscores else name
        is_dropped = judged in self._names or judged.startswith(self._prefixes)
        # Names are the sender's invention: they must not fill the memory.
        if len(self) < _MOST_VERDICTS:
            self[name] = is_dropped
        return is_dropped


_HOP_BY_HOP = HeaderFilter(HOP_BY_HOP)


def end_to_end(headers: Sequence[Header], dropped: HeaderFilter = _HOP_BY_HOP) -> list[Header]:
    """Return `headers`, their names in lower case, without `dropped` and without those that Connection names.

    Order and duplicates are kept. `dropped` holds HOP_BY_HOP. What says how to read the body stays,
    whatever Connection says: it was read here by the same words.
    """
    kept = [header for header in headers if not dropped[header[0]]]
    if len(kept) == len(headers):
        return kept
    listed = b",".join(value for name, value in headers if name == b"connection").lower()
    named = {token.strip() for token in listed.split(b",")}
    return [header for header in kept if header[0] not in named or header[0].startswith(b"content-")]


@lru_cache(maxsize=64)
def readable(accept_encoding: bytes) -> bytes:
    """Return the part of an Accept-Encoding value that stepdown can read, `identity` if none.

    Weights are kept. `*` goes: it would allow what cannot be read.
    """
    offers = [offer.strip() for offer in accept_encoding.lower().split(b",")]
    kept = [offer for offer in offers if offer.partition(b";")[0].strip() in READABLE_ENCODINGS]
    return b", ".join(kept) or b"identity"
