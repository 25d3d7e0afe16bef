"""Generating the answers of one micro-batch, step by step."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import onnxruntime_genai as og
from numpy.typing import NDArray

from gateway.errors import SpecialistError
from gateway.specialists.engine.adapter_cache import AdapterCache
from gateway.specialists.engine.guidance import schema_of
from gateway.specialists.engine.prompt import Prompter
from gateway.specialists.engine.protocol import Failed, FromEngine, Generate
from gateway.specialists.engine.sequence import Sequence

logger = logging.getLogger(__name__)

_MOST_READ = 1_024
"""Prompt tokens read in one go, over all rows; 1.4 ms each, in which nobody can leave."""
_MOST_KEPT = 4_096
"""Rows times tokens of one batch: each takes 46 KB of keys and values with SmolLM2-135M."""
_SHORTEST_ANSWER = 16


class Clients(Protocol):
    """Those who wait for drafts."""

    def has_left(self, number: int) -> bool:
        """Whether nobody waits for order `number` any more."""

    def say(self, message: FromEngine) -> None:
        """Send a message."""


class Generation:
    """A loaded base. For one thread."""

    def __init__(self, folder: Path, memory_mb: int) -> None:
        og.disable_telemetry_events()
        self._model = og.Model(str(folder))
        self._prompter = Prompter(folder)
        config = msgspec.json.decode((folder / "genai_config.json").read_bytes())["model"]
        ends = config["eos_token_id"]
        self._ends = frozenset(ends if isinstance(ends, list) else [ends])
        self._padding = int(config["pad_token_id"])
        self._shelf = AdapterCache(self._model, memory_mb)

    def forget(self, adapter: str) -> None:
        """Free an adapter."""
        self._shelf.drop(adapter)

    def run(self, orders: list[Generate], clients: Clients) -> None:
        """Draft for `orders`, which share their adapter and demand the same form; each gets its own reply.

        Raises MemoryError, after the replies, when not even one alone could be drafted for: what the
        library holds by then it never gives back.
        """
        rows = [row for order in orders if (row := self._row(order, clients))]
        while rows:
            batch = _fitting(rows)
            rows = rows[len(batch) :]
            fault = self._fault(batch, clients)
            if fault == "out of memory":
                # Not where the error was caught: its traceback held the generator, which held its adapter.
                self._shelf.clear()
            for row in batch:
                if not row.is_over:
                    clients.say(Failed(row.order.id, fault))
            if fault == "out of memory" and len(batch) == 1:
                raise MemoryError(f"not enough for one answer with {batch[0].order.adapter!r}")

    def _fault(self, rows: list[Sequence], clients: Clients) -> str:
        """Generate; return why rows which are not over have no answer."""
        try:
            self._generate(rows, clients)
        except SpecialistError as exc:
            return exc.reason
        except Exception as exc:  # the library has no tree of errors
            reason = _reason(str(exc).lower())
            if isinstance(exc, MemoryError):
                reason = "out of memory"
            # The library's messages quote what a grammar has read, which is the answer.
            logger.warning("a batch of %d failed: %s (%s)", len(rows), reason, type(exc).__name__)
            return reason
        return "specialist failed"

    def _row(self, order: Generate, clients: Clients) -> Sequence | None:
        try:
            ids = self._prompter.encode_prompt(order.draft_request.text)
        except SpecialistError as fault:
            clients.say(Failed(order.id, fault.reason))
            return None
        room = self._prompter.card.context - len(ids)
        if room < min(order.max_new_tokens, _SHORTEST_ANSWER):
            clients.say(Failed(order.id, "input too long"))
            return None
        return Sequence(order, ids, min(order.max_new_tokens, room), self._prompter, self._ends)

    def _generate(self, rows: list[Sequence], clients: Clients) -> None:
        generator = self._started(rows)
        self._read(generator, rows, clients)
        while not generator.is_done():
            for row in rows:
                row.is_over = row.is_over or clients.has_left(row.order.id)
            if all(row.is_over for row in rows):
                return
            logits = generator.get_logits()[:, -1, :].copy()
            generator.generate_next_token()
            for row, token, scores in zip(rows, generator.get_next_tokens(), logits, strict=True):
                if not row.is_over:
                    _take(row, int(token), scores, clients)

    def _started(self, rows: list[Sequence]) -> Any:
        params = og.GeneratorParams(self._model)
        most = max(len(row.prompt) for row in rows) + max(row.room for row in rows)
        params.set_search_options(max_length=most + 1, batch_size=len(rows), do_sample=False)
        if schema := schema_of(rows[0].order.draft_request):
            params.set_guidance("json_schema", schema)
        generator = og.Generator(self._model, params)
        if adapter := rows[0].order.adapter:
            generator.set_active_adapter(*self._shelf.take(adapter))
        return generator

    def _read(self, generator: Any, rows: list[Sequence], clients: Clients) -> None:
        width = max(len(row.prompt) for row in rows)
        # On the right: the attention operator takes a row's first tokens as its valid ones.
        ids = np.full((len(rows), width), self._padding, np.int32)
        for index, row in enumerate(rows):
            ids[index, : len(row.prompt)] = row.prompt
        # Only a prompt which is alone in its batch is wider than one go.
        for start in range(0, width, _MOST_READ):
            if clients.has_left(rows[0].order.id) and len(rows) == 1:
                rows[0].is_over = True
                return
            generator.append_tokens(ids[:, start : start + _MOST_READ])


def _fitting(rows: list[Sequence]) -> list[Sequence]:
    """Return the first rows which fit into one batch; one always does."""
    count, prompt, room = 0, 0, 0
    for row in rows:
        prompt, room = max(prompt, len(row.prompt)), max(room, row.room)
        read, kept = (count + 1) * prompt, (count + 1) * (prompt + room)
        if count and (read > _MOST_READ or kept > _MOST_KEPT):
            break
        count += 1
    return rows[:count]


def _take(row: Sequence, token: int, logits: NDArray[np.float32], clients: Clients) -> None:
    for message in row.take(token, _sureness(logits, token), logits):
        clients.say(message)


def _sureness(logits: NDArray[np.float32], token: int) -> tuple[float, float, float]:
    """Return the log-probability of `token`, its lead over the best other one, and the entropy."""
    shifted = logits - logits.max()
    weights = np.exp(shifted)
    total = float(weights.sum())
    entropy = float(np.log(total)) - float(weights @ shifted) / total
    chosen = float(shifted[token])
    shifted[token] = -np.inf
    return chosen - float(np.log(total)), chosen - float(shifted.max()), entropy


def _reason(message: str) -> str:
    if "alloc" in message or "memory" in message:
        return "out of memory"
    return "schema not supported" if "creating grammar" in message else "specialist failed"
