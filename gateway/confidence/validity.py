"""Whether a draft is an answer to the request at all, however sure the specialist is."""

from __future__ import annotations

import msgspec

from gateway.core import Draft, Request


def fault(draft: Draft, request: Request) -> str:
    """Return why `draft` cannot answer `request`, as a short countable phrase; empty if it can."""
    if not draft.text.strip():
        return "empty draft"
    if request.wants_json and not _is_json_object(draft.text):
        return "draft is not JSON"
    if any(stop and stop in draft.text for stop in request.stop):
        return "stop string in draft"
    if request.max_tokens is not None and tokens_at_most(draft.text) > request.max_tokens:
        return "draft longer than max_tokens"
    return ""


def tokens_at_most(text: str) -> int:
    """Return a number of tokens which no usual tokenizer exceeds for `text`.

    Two letters a token (words take three to five), and one a byte for all else. Deferring a
    draft too many costs one call; serving what the teacher would have cut is a wrong answer.
    """
    letters = sum(character.isascii() and character.isalpha() for character in text)
    return (letters + 1) // 2 + len(text.encode("utf-8", "replace")) - letters


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
