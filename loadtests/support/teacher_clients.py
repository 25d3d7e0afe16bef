"""Clients that ask a gateway without end, and what each of their requests saw."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

import msgspec

from loadtests.support.chat_requests import make_request

REFUSED_PAUSE_S = 0.05


class Seen(msgspec.Struct, frozen=True):
    """What one request saw."""

    begun: float
    took_s: float
    """To the first byte."""
    served_by: str
    end: str
    """"ok", "cut" for a stream that was broken off after its beginning, else what went wrong."""
    is_streamed: bool
    client: int = 0


class Traffic:
    """`clients` that ask one thing after the other until `stop`, one in `streamed_every` for a stream."""

    def __init__(
        self, port: int, clients: int, *, pause_s: float = 0.0, streamed_every: int | None = None
    ) -> None:
        self.seen: list[Seen] = []
        self._port = port
        self._pause_s = pause_s
        self._streamed_every = streamed_every
        self._is_over = False
        self._clients = [asyncio.create_task(self._ask_on(number)) for number in range(clients)]

    async def stop(self) -> None:
        """Ask no more, and wait for the answers under way."""
        self._is_over = True
        await asyncio.gather(*self._clients)

    def between(self, since: float, until: float) -> list[Seen]:
        """Return what the requests saw that began in that time."""
        return [each for each in self.seen if since <= each.begun < until]

    async def _ask_on(self, client: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        number = client
        while not self._is_over:
            number += 1
            is_streamed = self._streamed_every is not None and number % self._streamed_every == 0
            seen = await _ask(reader, writer, is_streamed=is_streamed)
            self.seen.append(msgspec.structs.replace(seen, client=client))
            if seen.end != "ok":
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                await asyncio.sleep(REFUSED_PAUSE_S)
            await asyncio.sleep(self._pause_s)
        writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_streamed: bool) -> Seen:
    fields = {"model": "gpt-4o", "messages": [{"role": "user", "content": "ping"}]}
    body = json.dumps(fields | ({"stream": True} if is_streamed else {}), separators=(",", ":")).encode()
    begun = time.monotonic()
    took_s, served_by, end = 0.0, "", "lost"
    try:
        writer.write(make_request(body))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        took_s = time.monotonic() - begun
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        served_by = lines.get(b"x-stepdown-served-by", b"").decode()
        if b"content-length" in lines:
            answer = await reader.readexactly(int(lines[b"content-length"]))
        else:
            answer = await reader.readuntil(b"0\r\n\r\n")
        status = head.split(b" ", 2)[1].decode()
        is_cut = is_streamed and status == "200" and b"[DONE]" not in answer
        end = "cut" if is_cut else "ok" if status == "200" else _failure(status, answer)
    except (OSError, asyncio.IncompleteReadError) as exc:
        end = type(exc).__name__
    return Seen(begun, took_s, served_by, end, is_streamed)


def _failure(status: str, answer: bytes) -> str:
    try:
        return f"{status} {json.loads(answer)['error']['code']}"
    except (ValueError, KeyError, TypeError):
        return status


def p99_ms(seen: Sequence[Seen]) -> float:
    """Return the p99 of the times to the first byte."""
    took = sorted(each.took_s for each in seen)
    return took[min(len(took) - 1, int(0.99 * len(took)))] * 1000 if took else 0.0
