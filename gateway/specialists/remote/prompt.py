"""The part of a request to an engine that is the same for every draft of a version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.specialists.remote.adapters import Adapter
from gateway.specialists.remote.identity import Identity

Message = dict[str, str]


class TrainedAdapter(msgspec.Struct, frozen=True):
    """An adapter, and the function from a text to the prompt's tokens that it was trained with.

    A server's chat template may put in a system message of its own, which the adapter has never seen.
    """

    adapter: Adapter
    encode_prompt: Callable[[str], list[int]]


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """The messages before the text, the limits, and the model that must answer.

    `identity` is the model that the version was validated on.
    """

    opening: tuple[Message, ...] = ()
    max_new_tokens: int
    hold_back: int | None = None
    identity: Identity
    trained: TrainedAdapter | None = None

    def path(self) -> str:
        """Return where it is sent, below the base URL."""
        return "/completions" if self.trained else "/chat/completions"

    def create_input(self, text: str, top_logprobs: int) -> dict[str, Any]:
        """Return the fields that say what is asked. Raises SpecialistError("input unreadable")."""
        if self.trained:
            return {"prompt": self.trained.encode_prompt(text), "logprobs": top_logprobs}
        messages = [*self.opening, {"role": "user", "content": text}]
        return {"messages": messages, "logprobs": True, "top_logprobs": top_logprobs}
