"""Text to tokens, whole or not at all: a specialist never answers a truncated input."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Encoding, Tokenizer

from gateway.errors import RegistryError, SpecialistError

# No real text has 32 characters per word piece; a longer one is refused before it costs time.
_MAX_CHARS_PER_TOKEN = 32


def open_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer in the file `path`; it neither truncates nor pads. Raises RegistryError."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:
        # tokenizers raises bare Exception.
        raise RegistryError(f"{path} is no tokenizer: {exc}") from exc
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encode_text(tokenizer: Tokenizer, text: str, *, add_special_tokens: bool = True) -> Encoding:
    """Return the tokens of `text`. Raises SpecialistError("input unreadable") if it is not Unicode."""
    try:
        return tokenizer.encode(text, add_special_tokens=add_special_tokens)
    except (TypeError, UnicodeError):
        # A lone surrogate: JSON can carry it, UTF-8 cannot.
        raise SpecialistError("input unreadable") from None


def encode_input(tokenizer: Tokenizer, text: str, max_tokens: int) -> Encoding:
    """Return the tokens of an input, special tokens included.

    Raises SpecialistError: "empty input", "input unreadable", or "input too long" beyond
    `max_tokens`.
    """
    if not text.strip():
        raise SpecialistError("empty input")
    if len(text) > max_tokens * _MAX_CHARS_PER_TOKEN:
        raise SpecialistError("input too long", f"{len(text)} characters")
    encoding = encode_text(tokenizer, text)
    if len(encoding.ids) > max_tokens:
        raise SpecialistError("input too long", f"{len(encoding.ids)} of {max_tokens} tokens")
    return encoding
