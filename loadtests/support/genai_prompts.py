"""What load tests ask small decoders: prompts and answers of fixed lengths."""

from __future__ import annotations

from gateway.specialists.engine.prompt import Prompter

PROMPT_TOKENS, ANSWER_TOKENS = 64, 32
STORY = "Tell me a long story of a fox who went to sea, of whom she met there and of what they said "


def make_input(prompter: Prompter) -> str:
    """Return a text whose prompt has PROMPT_TOKENS."""
    words = (STORY * 5).split()
    for count in range(len(words)):
        text = " ".join(words[:count])
        if len(prompter.encode_prompt(text)) >= PROMPT_TOKENS:
            return text
    raise AssertionError("the story is too short")
