"""One canonical spelling of a path, so that a rule about it cannot be spelled around."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

# Proxies that decode twice exist; nothing honest is encoded more than twice.
_MAX_DECODINGS = 4
# What a segment may not hold even encoded: some server behind us may split, cut or decode there again.
_AMBIGUOUS = frozenset("/\\%;?#") | {chr(code) for code in (*range(32), 127)}
# RFC 3986 section 6.2.2.2: these are never encoded by a client that means no harm.
_ENCODED_UNRESERVED = re.compile(r"%(?:2[DE]|3\d|[46][1-9A-F]|[57][0-9A]|5F|7E)", re.IGNORECASE)
# Names of models hold slashes, and clients encode them: below this path they are part of the name.
_MODELS = "/v1/models/"


class CanonicalPath(msgspec.Struct, frozen=True):
    """A path in its canonical spelling. `is_exact` if the client spelled it like that."""

    path: str
    is_exact: bool


def read_path(raw: bytes) -> CanonicalPath:
    """Return the canonical form of a request's `raw` path, without its query.

    Percent-encodings are undone until none is left, matrix parameters are cut off, backslashes are
    slashes; empty and dot segments are resolved; `/V1` is `/v1`. A spelling is exact if all it does
    beyond that is to encode characters that no server gives a meaning to, in any case of hex digits.

    Sources: RFC 3986 section 6.2.2; RFC 9110 section 4.2.3; "Breaking Parser Logic" (Orange Tsai, 2018)
    for `..;`, double encodings and backslashes.
    """
    text = raw.decode("latin-1")
    if "%" not in text and not _needs_care(text):
        return CanonicalPath(text, is_exact=True)
    path = _resolve(_decode_fully(text))
    return CanonicalPath(path, is_exact=_is_exact(text, path))


def _needs_care(text: str) -> bool:
    is_plain = text.startswith("/v1/") and "//" not in text and "/." not in text and not text.endswith("/")
    return not is_plain or ";" in text or "\\" in text or not text.isascii() or not text.isprintable()


def _decode_fully(text: str) -> str:
    for _ in range(_MAX_DECODINGS):
        decoded = unquote(text, errors="replace")
        if decoded == text:
            break
        text = decoded
    return text


def _resolve(text: str) -> str:
    kept: list[str] = []
    for part in text.replace("\\", "/").split("/"):
        segment = part.partition(";")[0]
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    if kept and kept[0] in ("v1", "V1"):
        kept[0] = "v1"
    return "/" + "/".join(kept)


def _is_exact(text: str, path: str) -> bool:
    """Return whether `text` says `path` segment by segment, with nothing ambiguous in any of them."""
    if _ENCODED_UNRESERVED.search(text):
        return False
    if path.startswith(_MODELS) and text.startswith(_MODELS):
        name = unquote(text.removeprefix(_MODELS))
        return _MODELS + name == path and not _AMBIGUOUS.difference("/").intersection(name)
    segments = [unquote(segment, errors="replace") for segment in text.split("/")]
    return "/".join(segments) == path and not any(_AMBIGUOUS.intersection(one) for one in segments)
