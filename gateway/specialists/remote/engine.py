"""One engine elsewhere: drafts by the least loaded of its servers that runs the certified model."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any

import msgspec

from gateway.core import DraftRequest
from gateway.errors import SpecialistError
from gateway.specialists.base import Listener, Prediction
from gateway.specialists.remote.adapters import select_adapter
from gateway.specialists.remote.answer import Answer
from gateway.specialists.remote.chunks import Chunk, TokenLogprob, decode_chunk
from gateway.specialists.remote.config import EngineConfig
from gateway.specialists.remote.http import DOWN, LOST, NOT_FOUND, EngineHttp
from gateway.specialists.remote.identity import (
    PROBE,
    PROBE_TOKENS,
    Identity,
    collect_reports,
    describe_difference,
)
from gateway.specialists.remote.prompt import Prompt
from gateway.specialists.remote.replica import Replica
from gateway.wire.sse import DONE

CHANGED = "model changed"
_ELSEWHERE = frozenset({DOWN, LOST, NOT_FOUND, CHANGED, "overloaded", "adapter missing"})
"""Reasons for which another server is asked."""
_SILENCE_S = 1.0
"""A server that sent nothing for so long when its draft was given up is set aside: it may be frozen."""


class RemoteEngine:
    """Drafts on one engine's servers; for one event loop. Every failure is a SpecialistError."""

    def __init__(self, config: EngineConfig) -> None:
        """Raises RegistryError for a file of authorities that cannot be read."""
        self._config = config
        self._http = EngineHttp(config.api_key_file, config.ca_file)
        self._replicas = [Replica(url) for url in config.urls]
        self._turn = 0
        self._checks: dict[Replica, asyncio.Task[Identity]] = {}

    async def draft(self, prompt: Prompt, draft_request: DraftRequest, listener: Listener) -> Prediction:
        """Return the answer to `draft_request` within the engine's `timeout_s`.

        Raises SpecialistError: "engine down", "engine lost", "overloaded", "late", "model changed",
        "model not found", "adapter missing", "engine refused", "no logprobs", "specialist failed".
        """
        answer = Answer(draft_request, prompt.hold_back, listener)
        try:
            async with asyncio.timeout(self._config.timeout_s):
                return await self._draft_somewhere(prompt, draft_request, answer)
        except TimeoutError:
            raise SpecialistError("late") from None

    async def identify(self) -> Identity:
        """Return the model that the engine runs now, by the first of its servers that answers."""
        fault = SpecialistError(DOWN)
        for replica in filter(Replica.is_available, self._replicas):
            try:
                return await self._identity_of(replica, may_be_old=False)
            except SpecialistError as exc:
                fault = exc
        raise fault

    async def close(self) -> None:
        """Close all connections."""
        for check in self._checks.values():
            check.cancel()
        await asyncio.gather(*self._checks.values(), return_exceptions=True)
        await self._http.close()

    async def _draft_somewhere(
        self, prompt: Prompt, draft_request: DraftRequest, answer: Answer
    ) -> Prediction:
        fault, tried = SpecialistError(DOWN), set[Replica]()
        while replica := self._choose(tried):
            try:
                with replica.count():
                    return await self._draft_on(replica, prompt, draft_request, answer)
            except SpecialistError as exc:
                if answer.has_begun or exc.reason not in _ELSEWHERE:
                    raise
                fault = exc
            tried.add(replica)
        raise fault

    def _choose(self, tried: set[Replica]) -> Replica | None:
        """Return the server with the fewest drafts under way; among equals they take turns."""
        self._turn += 1
        count = len(self._replicas)
        able = [
            (replica.in_flight, (index - self._turn) % count, replica)
            for index, replica in enumerate(self._replicas)
            if replica not in tried and replica.is_available()
        ]
        return min(able, key=lambda one: one[:2])[2] if able else None

    async def _draft_on(
        self, replica: Replica, prompt: Prompt, draft_request: DraftRequest, answer: Answer
    ) -> Prediction:
        began = time.monotonic()
        try:
            await self._check(replica, prompt.identity)
            try:
                await self._complete(replica, prompt, draft_request, answer)
            except SpecialistError as exc:
                # An idle connection may be closed just then; a restarted server has lost its adapters.
                is_stale = exc.reason == LOST or (exc.reason == NOT_FOUND and replica.adapters)
                if answer.has_begun or not is_stale:
                    raise
                replica.adapters.clear()
                await self._complete(replica, prompt, draft_request, answer)
        except asyncio.CancelledError:
            if not answer.has_begun and time.monotonic() - began > _SILENCE_S:
                replica.note_failure(SpecialistError("late", f"silent for {_SILENCE_S:.0f} s"))
            raise
        except SpecialistError as exc:
            if exc.reason in {DOWN, LOST}:
                replica.note_failure(exc)
            raise
        replica.note_success()
        return answer.finish()

    async def _complete(
        self, replica: Replica, prompt: Prompt, draft_request: DraftRequest, answer: Answer
    ) -> None:
        """Ask for the completion and add its chunks to `answer`."""
        body = await self._body(replica, prompt, draft_request)
        async with aclosing(self._http.stream_events(f"{replica.url}{prompt.path()}", body)) as events:
            async for event in events:
                if event == DONE:
                    return
                await self._add_chunk(_decode(event), replica, prompt.identity, answer)

    async def _add_chunk(self, chunk: Chunk, replica: Replica, certified: Identity, answer: Answer) -> None:
        if chunk.system_fingerprint and chunk.system_fingerprint != replica.fingerprint:
            if replica.fingerprint is not None:
                replica.checked_at = 0.0
                await self._check(replica, certified)
            replica.fingerprint = chunk.system_fingerprint
        answer.add_chunk(chunk)

    async def _body(self, replica: Replica, prompt: Prompt, draft_request: DraftRequest) -> dict[str, Any]:
        limit = min(prompt.max_new_tokens, draft_request.max_tokens or prompt.max_new_tokens)
        top_logprobs = max(self._config.top_logprobs, draft_request.top_logprobs or 0)
        body: dict[str, Any] = {
            "model": self._config.model,
            **prompt.create_input(draft_request.text, top_logprobs),
            "max_tokens": limit,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if draft_request.stop:
            body["stop"] = draft_request.stop
        if draft_request.response_format:
            body["response_format"] = msgspec.Raw(draft_request.response_format)
        if prompt.trained:
            body |= await select_adapter(prompt.trained.adapter, self._config, replica, self._http)
        return body

    async def _check(self, replica: Replica, certified: Identity) -> None:
        """Raise SpecialistError("model changed") unless `replica` runs the certified model."""
        if difference := describe_difference(certified, await self._identity_of(replica)):
            raise SpecialistError(CHANGED, difference)

    async def _identity_of(self, replica: Replica, *, may_be_old: bool = True) -> Identity:
        """Return the model of `replica` as it was found a short time ago; it is asked beside the drafts.

        One that `may_be_old` is returned while a new check is under way.
        """
        known = replica.identity if replica.checked_at else None
        is_old = time.monotonic() - replica.checked_at > self._config.check_every_s
        if known is not None and not is_old:
            return known
        check = self._checks.get(replica)
        if check is None:
            check = self._checks[replica] = asyncio.create_task(self._ask_identity(replica))
            check.add_done_callback(lambda done: self._note_check(replica, done))
        # One check for all who wait: none of them may cancel it.
        return known if known is not None and may_be_old else await asyncio.shield(check)

    def _note_check(self, replica: Replica, done: asyncio.Task[Identity]) -> None:
        self._checks.pop(replica, None)
        if not done.cancelled() and isinstance(exc := done.exception(), SpecialistError):
            replica.note_failure(exc)

    async def _ask_identity(self, replica: Replica) -> Identity:
        try:
            async with asyncio.timeout(self._config.timeout_s):
                reported, probe = await self._ask_reports(replica), await self._ask_probe(replica)
        except TimeoutError:
            raise SpecialistError("late", "it does not say which model it runs") from None
        replica.identity = Identity(model=self._config.model, reported=reported, probe=probe)
        replica.checked_at = time.monotonic()
        return replica.identity

    async def _ask_reports(self, replica: Replica) -> dict[str, str]:
        listing = await self._http.get_json(f"{replica.url}/models")
        version = await self._http.get_optional_json(f"{replica.root}/version")
        props = await self._http.get_optional_json(f"{replica.root}/props")
        return collect_reports(self._config.model, listing, version, props)

    async def _ask_probe(self, replica: Replica) -> tuple[tuple[str, float], ...]:
        if not self._config.probe:
            return ()
        body = {
            "model": self._config.model,
            "messages": PROBE,
            "max_tokens": PROBE_TOKENS,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 2,
            "stream": True,
        }
        tokens: list[TokenLogprob] = []
        async with aclosing(self._http.stream_events(f"{replica.url}/chat/completions", body)) as events:
            async for event in events:
                for choice in _decode(event).choices if event != DONE else ():
                    tokens += choice.logprobs.list_tokens() if choice.logprobs else ()
        return tuple((token.token, token.logprob) for token in tokens)


def _decode(event: bytes) -> Chunk:
    try:
        return decode_chunk(event)
    except ValueError as exc:
        raise SpecialistError("specialist failed", "the server sent what is no chunk") from exc
