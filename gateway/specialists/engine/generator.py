"""Generation of the answers of one batch, step by step."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import onnxruntime_genai as og
from numpy.typing import NDArray

from gateway.errors import SpecialistError
from gateway.specialists.engine.adapter_cache import AdapterCache
from gateway.specialists.engine.guidance import requested_schema
from gateway.specialists.engine.prompt import Prompter
from gateway.specialists.engine.protocol import EngineReply, Generate
from gateway.specialists.engine.sequence import Sequence, Step
from gateway.specialists.protocol import Failed

logger = logging.getLogger(__name__)

_MAX_READ = 1_024
"""Prompt tokens read in one call, over all rows; 1.4 ms each. A cancellation waits for the call."""
_MAX_KEPT = 4_096
"""Rows times tokens of one batch: each takes 46 KB of keys and values with SmolLM2-135M."""
_SHORTEST_ANSWER = 16


_SEED = 0
_THREADS = 2
"""Left to itself the library computes with one. More than two were not measured."""
_SPIN_US = 20
"""A thread that waits longer for the other one sleeps. Without an end to it two threads on two busy cores
write half as fast as one; without any spinning they are no faster on idle ones, token by token."""


class ReplyChannel(Protocol):
    """The way back to the parent process."""

    def is_cancelled(self, number: int) -> bool:
        """Whether the reply to request `number` is wanted no longer."""

    def send_reply(self, reply: EngineReply) -> None:
        """Send a reply."""


class Generator:
    """A loaded base. For one thread."""

    def __init__(self, folder: Path, memory_mb: int) -> None:
        og.disable_telemetry_events()
        self._model = og.Model(_read_config(folder))
        self._prompter = Prompter(folder)
        config = msgspec.json.decode((folder / "genai_config.json").read_bytes())["model"]
        end = config["eos_token_id"]
        self._end_tokens = frozenset(end if isinstance(end, list) else [end])
        self._padding = int(config["pad_token_id"])
        self._adapters = AdapterCache(self._model, memory_mb)

    def unload_adapter(self, adapter: str) -> None:
        """Free an adapter."""
        self._adapters.unload(adapter)

    def run_batch(self, requests: list[Generate], channel: ReplyChannel) -> None:
        """Draft for `requests` of one adapter and schema; each gets its own replies.

        Raises MemoryError, after the replies, if the memory did not suffice for one row alone: the
        library never gives back what it holds by then.
        """
        waiting = [row for request in requests if (row := self._start_row(request, channel))]
        while waiting:
            rows = _first_that_fit(waiting)
            waiting = waiting[len(rows) :]
            reason = self._try_generate(rows, channel)
            if reason == "out of memory":
                # Not where the error was caught: its traceback held the generator, and so its adapter.
                self._adapters.unload_all()
            for row in rows:
                if not row.is_over:
                    channel.send_reply(Failed(row.request.id, reason))
            if reason == "out of memory" and len(rows) == 1:
                raise MemoryError(f"not enough for one answer with {rows[0].request.adapter!r}")

    def _try_generate(self, rows: list[Sequence], channel: ReplyChannel) -> str:
        """Generate; return the reason why rows that are not over have no answer."""
        try:
            self._generate(rows, channel)
        except SpecialistError as exc:
            return exc.reason
        except Exception as exc:  # the library has no tree of errors
            reason = _to_reason(str(exc).lower())
            if isinstance(exc, MemoryError):
                reason = "out of memory"
            # Only the type: the library's messages quote the answer that a grammar has read.
            logger.warning("a batch of %d failed: %s (%s)", len(rows), reason, type(exc).__name__)
            return reason
        return "specialist failed"

    def _start_row(self, request: Generate, channel: ReplyChannel) -> Sequence | None:
        try:
            ids = self._prompter.encode_prompt(request.draft_request.text)
        except SpecialistError as exc:
            channel.send_reply(Failed(request.id, exc.reason))
            return None
        left = self._prompter.card.context - len(ids)
        if left < min(request.max_new_tokens, _SHORTEST_ANSWER):
            channel.send_reply(Failed(request.id, "input too long"))
            return None
        return Sequence(request, ids, min(request.max_new_tokens, left), self._prompter, self._end_tokens)

    def _generate(self, rows: list[Sequence], channel: ReplyChannel) -> None:
        generator = self._new_generator(rows)
        self._read_prompts(generator, rows, channel)
        while not generator.is_done():
            for row in rows:
                row.is_over = row.is_over or channel.is_cancelled(row.request.id)
            if all(row.is_over for row in rows):
                return
            logits = generator.get_logits()[:, -1, :].copy()
            generator.generate_next_token()
            for row, token, scores in zip(rows, generator.get_next_tokens(), logits, strict=True):
                if not row.is_over:
                    _add_token(row, int(token), scores, channel)

    def _new_generator(self, rows: list[Sequence]) -> Any:
        params = og.GeneratorParams(self._model)
        longest = max(len(row.prompt) for row in rows) + max(row.max_new_tokens for row in rows)
        # Nothing is drawn, but without a seed the library takes one of 2.5 KB from the processor: 12 ms.
        params.set_search_options(
            max_length=longest + 1, batch_size=len(rows), do_sample=False, random_seed=_SEED
        )
        if schema := requested_schema(rows[0].request.draft_request):
            params.set_guidance("json_schema", schema)
        generator = og.Generator(self._model, params)
        if adapter := rows[0].request.adapter:
            generator.set_active_adapter(*self._adapters.load(adapter))
        return generator

    def _read_prompts(self, generator: Any, rows: list[Sequence], channel: ReplyChannel) -> None:
        width = max(len(row.prompt) for row in rows)
        # Padding on the right: the attention operator takes a row's first tokens as its valid ones.
        ids = np.full((len(rows), width), self._padding, np.int32)
        for index, row in enumerate(rows):
            ids[index, : len(row.prompt)] = row.prompt
        # Only a prompt that is alone in its batch needs more than one call.
        for start in range(0, width, _MAX_READ):
            if channel.is_cancelled(rows[0].request.id) and len(rows) == 1:
                rows[0].is_over = True
                return
            generator.append_tokens(ids[:, start : start + _MAX_READ])


def _read_config(folder: Path) -> Any:
    options = {
        "intra_op_num_threads": min(_THREADS, os.cpu_count() or 1),
        "session.intra_op.spin_duration_us": str(_SPIN_US),
    }
    config = og.Config(str(folder))
    config.overlay(msgspec.json.encode({"model": {"decoder": {"session_options": options}}}).decode())
    return config


def _first_that_fit(rows: list[Sequence]) -> list[Sequence]:
    """Return the first rows that fit into one batch, at least one."""
    count, prompt, answer = 0, 0, 0
    for row in rows:
        prompt, answer = max(prompt, len(row.prompt)), max(answer, row.max_new_tokens)
        read, kept = (count + 1) * prompt, (count + 1) * (prompt + answer)
        if count and (read > _MAX_READ or kept > _MAX_KEPT):
            break
        count += 1
    return rows[:count]


def _add_token(row: Sequence, token: int, logits: NDArray[np.float32], channel: ReplyChannel) -> None:
    for reply in row.add_token(token, _measure_step(logits, token), logits):
        channel.send_reply(reply)


def _measure_step(logits: NDArray[np.float32], token: int) -> Step:
    shifted = logits - logits.max()
    weights = np.exp(shifted)
    total = float(weights.sum())
    entropy = float(np.log(total)) - float(weights @ shifted) / total
    chosen = float(shifted[token])
    shifted[token] = -np.inf
    return Step(chosen - float(np.log(total)), chosen - float(shifted.max()), entropy)


def _to_reason(message: str) -> str:
    if "alloc" in message or "memory" in message:
        return "out of memory"
    return "schema not supported" if "creating grammar" in message else "specialist failed"
