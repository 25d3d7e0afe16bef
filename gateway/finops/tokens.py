"""Estimates of what an answer took where the teacher reported nothing, or was not asked at all."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

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
# The longest of so many answers is about their 99th percentile.
COMPLETIONS_KEPT = 100
DEFAULT_COMPLETION_TOKENS = 1_000
# A template with more answers than this adds only each so-manieth to what is known of its model.
OFTEN = 16


class Ratio(msgspec.Struct):
    """Reported tokens and the bytes they came from, prompt and completion, older ones fading.

    No tokeniser makes more tokens than there are bytes. What is reported beyond them does not grow with the
    text (reasoning, a prompt of the teacher's own): it is kept by the answer.
    """

    prompt_tokens: float = 0.0
    prompt_bytes: float = 0.0
    completion_tokens: float = 0.0
    completion_bytes: float = 0.0
    hidden_prompt_tokens: float = 0.0
    hidden_completion_tokens: float = 0.0
    weight: float = 0.0
    billed_tokens: float = 0.0
    """Prompt tokens with the chat format's; `cached_tokens` are a share of these."""
    cached_tokens: float = 0.0
    model: str = ""
    """The model that answered last, and the service tier that it answered in."""
    tier: str = ""
    answers: int = 0

    def add(self, prompt_bytes: int, written_bytes: int, overhead: int, usage: Usage) -> None:
        """Add one answer."""
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        sent = _visible_tokens(max(0, prompt - overhead), prompt_bytes)
        written = _visible_tokens(max(0, completion - usage.reasoning_tokens), written_bytes)
        self.answers += 1
        self.weight = self.weight * DECAY + 1
        self.prompt_tokens = self.prompt_tokens * DECAY + sent
        self.prompt_bytes = self.prompt_bytes * DECAY + prompt_bytes
        self.completion_tokens = self.completion_tokens * DECAY + written
        self.hidden_prompt_tokens = self.hidden_prompt_tokens * DECAY + max(0, prompt - overhead) - sent
        self.hidden_completion_tokens = self.hidden_completion_tokens * DECAY + completion - written
        self.completion_bytes = self.completion_bytes * DECAY + written_bytes
        self.billed_tokens = self.billed_tokens * DECAY + prompt
        self.cached_tokens = self.cached_tokens * DECAY + min(usage.cached_tokens, prompt)


class Expectation(msgspec.Struct, frozen=True):
    """What the teacher would have taken for an answer, and which model in which tier."""

    usage: Usage
    model: str = ""
    tier: str = ""


class TokenEstimator:
    """Learns tokens per byte, and the share read from the prompt cache, per template and per model.

    Estimates may be asked for from the event loop while `learn` runs in another thread.
    """

    def __init__(self) -> None:
        self._ratios: OrderedDict[tuple[str, str], Ratio] = OrderedDict()
        self._completions: OrderedDict[str, deque[int]] = OrderedDict()
        self._lock = threading.Lock()

    def learn(
        self, request: Request, written_bytes: int, usage: Usage, model: str = "", tier: str = ""
    ) -> None:
        """Take the teacher's reported usage of one answer of `written_bytes`; of any other shape, 0."""
        prompt_bytes = _prompt_bytes(request) if written_bytes else 0
        with self._lock:
            self._note_length(request.template, usage.completion_tokens)
            if not prompt_bytes:
                return
            overhead = _overhead(request)
            for key in _keys(request):
                ratio = self._ratio_at(key)
                ratio.add(prompt_bytes, written_bytes, overhead, usage)
                ratio.model, ratio.tier = model, tier
                if ratio.answers > OFTEN and ratio.answers % OFTEN:
                    # What the template's own ratio says is not asked of its model's.
                    return

    def _ratio_at(self, key: tuple[str, str]) -> Ratio:
        ratio = self._ratios.get(key)
        if ratio is None:
            ratio = self._ratios[key] = Ratio()
            if len(self._ratios) > MAX_RATIOS:
                self._ratios.popitem(last=False)
        else:
            self._ratios.move_to_end(key)
        return ratio

    def _note_length(self, template: str, completion_tokens: int) -> None:
        kept = self._completions.get(template)
        if kept is None:
            kept = self._completions[template] = deque(maxlen=COMPLETIONS_KEPT)
            if len(self._completions) > MAX_RATIOS:
                self._completions.popitem(last=False)
        kept.append(completion_tokens)

    def estimate(self, request: Request, text: str) -> Usage:
        """Return what the teacher would have reported for answering with `text`, without its cache."""
        return self._usage(request, self._ratio_of(request), _bytes(text))

    def expect(self, request: Request, written_bytes: int) -> Expectation:
        """Return what the teacher takes for an answer of `written_bytes`, its prompt cache included.

        The cache is taken to hold the same share as for the template's other answers.
        """
        ratio = self._ratio_of(request)
        usage = self._usage(request, ratio, written_bytes)
        if ratio is None:
            return Expectation(usage)
        if ratio.cached_tokens and ratio.billed_tokens:
            cached = round(usage.prompt_tokens * ratio.cached_tokens / ratio.billed_tokens)
            usage = msgspec.structs.replace(usage, cached_tokens=cached)
        return Expectation(usage, ratio.model, ratio.tier)

    def longest_completion(self, request: Request) -> int:
        """Return what hardly any answer to the template exceeds, DEFAULT_COMPLETION_TOKENS at first."""
        with self._lock:
            kept = self._completions.get(request.template)
            return max(kept) if kept else DEFAULT_COMPLETION_TOKENS

    def _ratio_of(self, request: Request) -> Ratio | None:
        found = (self._ratios.get(key) for key in _keys(request))
        return next((ratio for ratio in found if ratio is not None), None)

    def _usage(self, request: Request, ratio: Ratio | None, written_bytes: int) -> Usage:
        if ratio is None:
            prompt = _prompt_bytes(request) * DEFAULT_TOKENS_PER_BYTE
            completion = written_bytes * DEFAULT_TOKENS_PER_BYTE
        else:
            prompt = _prompt_bytes(request) * ratio.prompt_tokens / ratio.prompt_bytes
            prompt += ratio.hidden_prompt_tokens / ratio.weight
            completion = written_bytes * ratio.completion_tokens / ratio.completion_bytes
            completion += ratio.hidden_completion_tokens / ratio.weight
        return Usage(
            prompt_tokens=round(prompt) + _overhead(request),
            completion_tokens=max(1, round(completion)) if written_bytes else 0,
            is_estimated=True,
        )


def _visible_tokens(tokens: int, size_bytes: int) -> float:
    """Return how many of `tokens` a text of `size_bytes` can be."""
    return tokens if tokens <= size_bytes else size_bytes * DEFAULT_TOKENS_PER_BYTE


def _keys(request: Request) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return under which names a ratio is kept, the closest first."""
    return ("template", request.template), ("model", request.model)


def _prompt_bytes(request: Request) -> int:
    if request.surface == "other":
        return len(request.body)
    return sum([_bytes(message.text) for message in request.messages]) + len(request.tools)


def _bytes(text: str) -> int:
    # Python knows already whether a text is ASCII: most prompts need no copy to be measured.
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _overhead(request: Request) -> int:
    if request.surface in ("embeddings", "other"):
        return 0
    return TOKENS_PER_PROMPT + TOKENS_PER_MESSAGE * len(request.messages)
