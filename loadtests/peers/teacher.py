"""A teacher that costs almost nothing: answers are bytes made beforehand, on uvloop.

`python -m loadtests.peers.teacher --port 0` prints `{"port": N}` once it listens. The question names the
answer, since a gateway may rewrite everything else: `[[plain]]`, or `[[stream CHUNKS MS STAMPS]]` for a
stream of CHUNKS, one every MS milliseconds, with a timestamp in the `first` or in `all` of them.
Every chunk is written by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections import defaultdict
from typing import cast

import msgspec
import uvloop

from loadtests.support.timestamps import BYTES, stamp

TICK_S = 0.001
BACKLOG = 4096
PLAIN = "[[plain]]"
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# The headers of api.openai.com, so that gateways have as much to pass on.
_HEADERS = (
    b"HTTP/1.1 200 OK\r\nopenai-organization: org-mock\r\nopenai-processing-ms: 1\r\n"
    b"openai-version: 2020-10-01\r\nx-request-id: req_0123456789abcdef0123456789abcdef\r\n"
    b"x-ratelimit-limit-requests: 10000\r\nx-ratelimit-limit-tokens: 30000000\r\n"
    b"x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-remaining-tokens: 29999000\r\n"
    b"x-ratelimit-reset-requests: 6ms\r\nx-ratelimit-reset-tokens: 2ms\r\nserver: mock\r\n"
)
_FRAME = {"id": "chatcmpl-mock", "created": 1_700_000_000, "model": "gpt-4o", "system_fingerprint": "fp_mock"}
_TEXT = "The parcel left our warehouse this morning and should be with you in two days. " * 3


class Script(msgspec.Struct, frozen=True):
    """The parts of a stream. `stamped` are the bytes before and after the timestamp of a chunk."""

    head: bytes
    stamped: tuple[bytes, bytes]
    chunk: bytes
    end: bytes
    chunks: int
    """The number of chunks; the last one, `end`, counts."""
    every_ticks: int
    stamps_all: bool


class Ticker:
    """Writes the chunks of all open streams, each at its own pace, from one timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: defaultdict[int, list[_Conversation]] = defaultdict(list)
        self._done = self._tick()
        self._is_running = False

    def add(self, stream: _Conversation, ticks: int) -> None:
        """Call `stream.advance` after so many ticks."""
        if not self._is_running:
            self._is_running = True
            self._done = self._tick()
            self._loop.call_later(TICK_S, self._advance)
        # Never a past tick: it would not come again.
        self._due[max(self._tick(), self._done) + ticks].append(stream)

    def _advance(self) -> None:
        now = self._tick()
        # A late loop has several ticks to make up for.
        while self._done < now:
            self._done += 1
            for stream in self._due.pop(self._done, ()):
                if ticks := stream.advance():
                    self._due[self._done + ticks].append(stream)
        self._is_running = bool(self._due)
        if self._is_running:
            self._loop.call_later(TICK_S, self._advance)

    def _tick(self) -> int:
        return int(time.monotonic() / TICK_S)


class _Conversation(asyncio.Protocol):
    """One connection of a gateway."""

    def __init__(self, ticker: Ticker, answers: dict[bytes, bytes | Script]) -> None:
        self._ticker = ticker
        self._answers = answers
        self._buffer = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not subclass asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if self._is_whole():
            self._answer()

    def advance(self) -> int:
        """Write the next chunk; return the ticks until the one after it, 0 after the last."""
        if self._transport.is_closing():
            return 0
        script = self._script
        self._left -= 1
        if not self._left:
            self._transport.write(script.end)
            return 0
        self._transport.write(_stamped(script) if script.stamps_all else script.chunk)
        return script.every_ticks

    def _is_whole(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if length := _LENGTH.search(self._buffer, 0, end):
            return len(self._buffer) >= end + 4 + int(length[1])
        return not _CHUNKED.search(self._buffer, 0, end + 2) or self._buffer.endswith(b"0\r\n\r\n")

    def _answer(self) -> None:
        start = self._buffer.rfind(b"[[")
        key = self._buffer[start : self._buffer.find(b"]]", start) + 2] if start >= 0 else PLAIN.encode()
        self._buffer = b""
        answer = self._answers.get(key) or self._answers.setdefault(key, _build_answer(key))
        if isinstance(answer, bytes):
            self._transport.write(answer)
            return
        self._script = answer
        self._left = answer.chunks - 1
        self._transport.write(answer.head + _stamped(answer))
        self._ticker.add(self, answer.every_ticks)


def marker(chunks: int, every_ms: int, stamps: str) -> str:
    """Return the mark in a question that asks for a stream; `stamps` is "first" or "all"."""
    return f"[[stream {chunks} {every_ms} {stamps}]]"


def _build_answer(key: bytes) -> bytes | Script:
    words = key.strip(b"[]").split()
    if words[0] != b"stream":
        return _build_plain()
    before, after = _chunk(_event({"role": "assistant", "content": "t" * BYTES})).split(b"t" * BYTES)
    last = _event({}, "stop") + b"data: [DONE]\n\n"
    kind = b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    return Script(
        head=_HEADERS + kind,
        stamped=(before, after),
        chunk=_chunk(_event({"content": " parcel"})),
        end=_chunk(last) + b"0\r\n\r\n",
        chunks=int(words[1]),
        every_ticks=int(words[2]),
        stamps_all=words[3] == b"all",
    )


def _build_plain() -> bytes:
    message: dict[str, object] = {"role": "assistant", "content": _TEXT, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 200, "completion_tokens": 50, "total_tokens": 250}
    frame = {**_FRAME, "object": "chat.completion", "choices": [choice], "usage": usage}
    body = msgspec.json.encode(frame)
    return _HEADERS + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    frame = {**_FRAME, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: %b\n\n" % msgspec.json.encode(frame)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _stamped(script: Script) -> bytes:
    before, after = script.stamped
    return before + stamp() + after


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    ticker = Ticker(loop)
    answers: dict[bytes, bytes | Script] = {}
    server = await loop.create_server(
        lambda: _Conversation(ticker, answers), "127.0.0.1", port, backlog=BACKLOG
    )
    print(f'{{"port": {server.sockets[0].getsockname()[1]}}}', flush=True)
    await server.serve_forever()


def main() -> None:
    """Answer until the process ends."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.peers.teacher", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
