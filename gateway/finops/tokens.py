"""Estimates of token counts where the teacher reported none."""

from __future__ import annotations

import threading
from collections import OrderedDict

import msgspec

from gateway.core import Request, Usage

# English text of chat models: 4.2-4.6 bytes a token; short labels and JSON come nearer to 3.5.
DEFAULT_TOKENS_PER_BYTE = 0.25
# What the chat format adds to each message and to the whole prompt (OpenAI's cookbook).
TOKENS_PER_MESSAGE = 4
TOKENS_PER_PROMPT = 3
MAX_RATIOS = 4096
# An old answer weighs half after about 140 newer ones: a model's tokeniser may change.
DECAY = 0.995


class Ratio(msgspec.Struct, frozen=True):
    """Reported tokens and the bytes they came from, prompt and completion, older ones fading."""

    prompt_tokens: float = 0.0
    prompt_bytes: float = 0.0
    completion_tokens: float = 0.0
    completion_bytes: float = 0.0


_NOTHING = Ratio()


class TokenEstimator:
    """Learns tokens per byte from reported usage, per template and per model.

    `estimate` may be called from the event loop while `learn` runs in another thread.
    """

    def __init__(self) -> None:
        self._ratios: OrderedDict[tuple[str, str], Ratio] = OrderedDict()
        self._lock = threading.Lock()

    def learn(self, request: Request, text: str, usage: Usage) -> None:
        """Take the teacher's reported usage of one answer."""
        prompt_bytes = _prompt_bytes(request)
        overhead = _overhead(request)
        completion_bytes = _bytes(text)
        if not prompt_bytes or not completion_bytes:
            return
        prompt_tokens = max(0, usage.prompt_tokens - overhead)
        with self._lock:
            for key in _keys(request):
                old = self._ratios.get(key, _NOTHING)
                self._ratios[key] = Ratio(
                    old.prompt_tokens * DECAY + prompt_tokens,
                    old.prompt_bytes * DECAY + prompt_bytes,
                    old.completion_tokens * DECAY + usage.completion_tokens,
                    old.completion_bytes * DECAY + completion_bytes,
                )
                self._ratios.move_to_end(key)
            while len(self._ratios) > MAX_RATIOS:
                self._ratios.popitem(last=False)

    def estimate(self, request: Request, text: str) -> Usage:
        """Return what the teacher would have reported for answering `request` with `text`."""
        found = (self._ratios.get(key) for key in _keys(request))
        ratio = next((ratio for ratio in found if ratio is not None), None)
        completion_bytes = _bytes(text)
        if ratio is None:
            per_prompt_byte = per_completion_byte = DEFAULT_TOKENS_PER_BYTE
        else:
            per_prompt_byte = ratio.prompt_tokens / ratio.prompt_bytes
            per_completion_byte = ratio.completion_tokens / ratio.completion_bytes
        return Usage(
            prompt_tokens=round(_prompt_bytes(request) * per_prompt_byte) + _overhead(request),
            completion_tokens=max(1, round(completion_bytes * per_completion_byte)) if text else 0,
            is_estimated=True,
        )


def _keys(request: Request) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return under which names a ratio is kept, the closest first."""
    return ("template", request.template), ("model", request.model)


def _prompt_bytes(request: Request) -> int:
    return sum([_bytes(message.text) for message in request.messages])


def _bytes(text: str) -> int:
    # Python knows already whether a text is ASCII: most prompts need no copy to be measured.
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _overhead(request: Request) -> int:
    if request.surface == "embeddings":
        return 0
    return TOKENS_PER_PROMPT + TOKENS_PER_MESSAGE * len(request.messages)
