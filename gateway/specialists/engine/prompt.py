"""The tokens of a student's prompt, the same in training and in serving."""

from __future__ import annotations

import shutil
from pathlib import Path

from gateway.specialists.engine import base_model
from gateway.specialists.tokenization import encode_text, open_tokenizer

TOKENIZER = "tokenizer.json"


def copy_prompter(base: Path, folder: Path) -> None:
    """Copy what the Prompter of `base` reads into `folder`."""
    for name in (base_model.CARD, TOKENIZER):
        shutil.copyfile(base / name, folder / name)


class Prompter:
    """Puts an input between the fixed parts of one user turn of a base's chat template.

    What looks like a control token in an input is encoded as plain text: no input can end its
    own turn, or be taken for padding.
    """

    def __init__(self, folder: Path) -> None:
        """Raise RegistryError naming the file that is missing or unreadable."""
        self.card = base_model.read_card(folder)
        self._plain = open_tokenizer(folder / TOKENIZER)
        self._plain.encode_special_tokens = True
        template = open_tokenizer(folder / TOKENIZER)
        self._prefix: list[int] = encode_text(template, self.card.prompt_prefix, add_special_tokens=False).ids
        self._suffix: list[int] = encode_text(template, self.card.prompt_suffix, add_special_tokens=False).ids

    def encode_prompt(self, text: str) -> list[int]:
        """Return the prompt for the input `text`. Raises SpecialistError("input unreadable")."""
        return [*self._prefix, *self.encode_plain(text), *self._suffix]

    def encode_plain(self, text: str) -> list[int]:
        """Return the tokens of `text` alone. Raises like `encode_prompt`."""
        ids: list[int] = encode_text(self._plain, text, add_special_tokens=False).ids
        return ids

    def decode_text(self, ids: list[int]) -> str:
        """Return the text of `ids` without control tokens."""
        text: str = self._plain.decode(ids, skip_special_tokens=True)
        return text

    def decode_token(self, token: int) -> str:
        """Return the text of one token, also of a control token."""
        text: str = self._plain.decode([token], skip_special_tokens=False)
        return text
