"""The words of an input and their tokens."""

from __future__ import annotations

import msgspec
from tokenizers import Tokenizer

from gateway.errors import SpecialistError
from gateway.specialists.tokenization import encode_input


class Words(msgspec.Struct, frozen=True):
    """An input's token ids; for each of its n words the index of its first token and its characters.

    Word i is the characters [starts[i], ends[i]).
    """

    ids: list[int]
    first_tokens: list[int]
    starts: list[int]
    ends: list[int]

    def find_value(self, text: str, value: str) -> list[tuple[int, int]]:
        """Return the places of `value` in `text` as whole words: word numbers [first, last]."""
        first_at = {start: number for number, start in enumerate(self.starts)}
        last_at = {end: number for number, end in enumerate(self.ends)}
        found = []
        at = text.find(value) if value else -1
        while at >= 0:
            first, last = first_at.get(at), last_at.get(at + len(value))
            if first is not None and last is not None:
                found.append((first, last))
            at = text.find(value, at + 1)
        return found


def split_words(text: str, tokenizer: Tokenizer, max_tokens: int) -> Words:
    """Return the words of `text`.

    Raises SpecialistError: "empty input", "input unreadable" or "input too long". Nothing is
    truncated.
    """
    encoding = encode_input(tokenizer, text, max_tokens)
    words = Words(encoding.ids, [], [], [])
    previous = None
    for position, (word, (start, end)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
        if word is None:
            continue
        if word != previous:
            words.first_tokens.append(position)
            words.starts.append(start)
            words.ends.append(end)
        words.ends[-1] = max(end, words.ends[-1])
        previous = word
    if not words.first_tokens:
        # Only characters that belong to no word, like a zero-width space.
        raise SpecialistError("empty input")
    return words
