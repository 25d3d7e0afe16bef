"""A client at the ASGI interface: it may send slowly, read slowly, and leave at any time."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.simulation.history import Exchange
from tests.simulation.text import question

if TYPE_CHECKING:
    from tests.simulation.worker import SimulatedWorker


class Client:
    """Sends one request and keeps what comes back in `exchange`."""

    def __init__(
        self, exchange: Exchange, secret: str, choices: random.Random, note: Callable[[str], None]
    ) -> None:
        self._exchange = exchange
        self._choices = choices
        self._note = note
        self._is_slow = choices.random() < 0.15
        self._leaves_after_s = choices.choice((0.0, 0.01, 0.06, 0.3, 2.0)) if choices.random() < 0.3 else None
        self._max_tokens = choices.choice((None, 20, 100, 100))
        self._is_over = asyncio.Event()
        self._secret = secret
        self._body: list[bytes] = []

    async def call(self, worker: SimulatedWorker) -> None:
        """Send the request to `worker`, and return when the answer or the client is at an end."""
        exchange = self._exchange
        exchange.sent_at = asyncio.get_running_loop().time()
        body = write_body(
            question(exchange.number), is_streamed=exchange.is_streamed, max_tokens=self._max_tokens
        )
        half = self._choices.randrange(len(body))
        self._body = [body[:half], body[half:]]
        leaving = asyncio.create_task(self._leave())
        self._note(f"request {exchange.number} of {exchange.key} comes to worker {exchange.worker}")
        await worker.serve(exchange, self._scope(len(body)), self._receive, self._send)
        leaving.cancel()
        self._note(f"request {exchange.number} ends with {exchange.status}, finished: {exchange.is_finished}")

    async def _leave(self) -> None:
        if self._leaves_after_s is None:
            return
        await asyncio.sleep(self._leaves_after_s)
        if not self._exchange.is_finished:
            self._exchange.left_at = asyncio.get_running_loop().time()
            self._note(f"request {self._exchange.number}: the client leaves")
            self._is_over.set()

    async def _receive(self) -> dict[str, Any]:
        if self._body and not self._is_over.is_set():
            await asyncio.sleep(self._choices.choice((0, 0, 0.02)))
            piece = self._body.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._body)}
        await self._is_over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        exchange = self._exchange
        if not exchange.stayed:
            return
        if exchange.is_finished:
            exchange.sent_after_the_end += 1
        if message["type"] == "http.response.start":
            exchange.heads.append(message["status"])
            return
        exchange.body += message["body"]
        if not message.get("more_body"):
            exchange.is_finished = True
            self._is_over.set()
        elif self._is_slow:
            # A server's `send` waits while the socket is full, and for no client that has left.
            with suppress(TimeoutError):
                # Not `wait_for`: on Python 3.11 it swallows a cancellation that comes with the event.
                async with asyncio.timeout(self._choices.uniform(0, 0.5)):
                    await self._is_over.wait()

    def _scope(self, length: int) -> dict[str, Any]:
        return {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "headers": [
                (b"host", b"gateway"),
                (b"authorization", f"Bearer {self._secret}".encode()),
                (b"content-type", b"application/json"),
                (b"content-length", str(length).encode()),
            ],
        }


def write_body(text: str, *, is_streamed: bool, max_tokens: int | None) -> bytes:
    """Return a chat request."""
    messages = [{"role": "system", "content": "Answer."}, {"role": "user", "content": text}]
    body: dict[str, Any] = {"model": "giant", "messages": messages}
    if is_streamed:
        body["stream"] = True
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    return json.dumps(body).encode()
