"""The tokens of a student's prompt: the same for whoever trains it and for whoever serves it."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from gateway.errors import SpecialistError
from gateway.specialists.engine import base_model


class Prompter:
    """Puts inputs between the head and the tail of a base's turn.

    What looks like a control token in an input is encoded as the text which it is: no input can
    end its own turn, or be taken for padding.
    """

    def __init__(self, folder: Path) -> None:
        self.card = base_model.read(folder)
        self._words = _tokenizer(folder)
        self._words.encode_special_tokens = True
        controls = _tokenizer(folder)
        self._head: list[int] = controls.encode(self.card.head, add_special_tokens=False).ids
        self._tail: list[int] = controls.encode(self.card.tail, add_special_tokens=False).ids

    def ids(self, text: str) -> list[int]:
        """Return the prompt for `text`. Raises SpecialistError for text which is no Unicode."""
        return [*self._head, *self.answer_ids(text), *self._tail]

    def answer_ids(self, text: str) -> list[int]:
        """Return the tokens of `text` alone. Raises like `ids`."""
        try:
            ids: list[int] = self._words.encode(text, add_special_tokens=False).ids
        except (TypeError, UnicodeError):
            raise SpecialistError("input unreadable") from None
        return ids

    def text(self, ids: list[int]) -> str:
        """Return what `ids` say, control tokens left out."""
        said: str = self._words.decode(ids, skip_special_tokens=True)
        return said

    def name(self, token: int) -> str:
        """Return one token as text, whatever it is."""
        said: str = self._words.decode([token], skip_special_tokens=False)
        return said


def _tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))
