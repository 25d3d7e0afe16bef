"""The content-encodings that a teacher's answer may have."""

from __future__ import annotations

import zlib

# A longer answer is a decompression bomb, not a narrow task.
MAX_DECODED_BYTES = 32 << 20


def decode_content(answer: bytes, encoding: str) -> bytes:
    """Return `answer` without its content-encoding.

    Raises ValueError for an encoding that we do not know and beyond MAX_DECODED_BYTES, zlib.error
    for damaged bytes.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return answer
        case "gzip" | "x-gzip":
            return _inflate(answer, 16 + zlib.MAX_WBITS)
        case "deflate":
            # Some servers send the raw form; the zlib form begins with 0x78.
            return _inflate(answer, zlib.MAX_WBITS if answer[:1] == b"\x78" else -zlib.MAX_WBITS)
    raise ValueError(f"unreadable content-encoding {encoding}")


def _inflate(answer: bytes, window_bits: int) -> bytes:
    decompressor = zlib.decompressobj(window_bits)
    content = decompressor.decompress(answer, MAX_DECODED_BYTES)
    if decompressor.unconsumed_tail:
        raise ValueError("the answer grows beyond the limit")
    return content
