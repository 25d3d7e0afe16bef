"""A teacher that can be killed, stalled, limited, half broken, slow, small, and well again on its port."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Mode = Literal["well", "killed", "stalled", "limited", "half broken", "slow", "small"]
SLOW_S = 0.3
SMALL_CAPACITY, SMALL_TAKES_S = 8, 0.05
"""A small teacher has so many answers under way, which take so long; the others are a 429."""
CHUNK_S = 0.02
_ANSWER = b'{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop",' \
    b'"message":{"role":"assistant","content":"pong"}}]}'  # fmt: skip
_CHUNK = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"po"}}]}\n\n'


class FaultyTeacher:
    """Answers every POST and GET by its `mode`, in a loop of its own; a stream has four chunks."""

    def __init__(self) -> None:
        self.posts = self.gets = self.cut_streams = self.refusals = 0
        self.port = 0
        self._mode: Mode = "well"
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._streams = self._under_way = 0
        self._numbers = itertools.count(1)
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty teacher")

    @property
    def base_url(self) -> str:
        """The address that a gateway calls."""
        return f"http://127.0.0.1:{self.port}/v1"

    def become(self, mode: Mode) -> None:
        """Change the mode; returns once it holds."""
        asyncio.run_coroutine_threadsafe(self._become(mode), self._loop).result()

    def start(self) -> None:
        """Listen on a free port."""
        self._thread.start()
        self.become("well")

    def stop(self) -> None:
        """Close everything."""
        self.become("killed")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _become(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "killed":
            if self._server:
                self._server.close()
                self._server = None
            self.cut_streams += self._streams
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
        elif self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.lower().split(b"\r\n")
                               if line.startswith(b"content-length:")), 0)  # fmt: skip
                body = await reader.readexactly(length)
                self.posts += head.startswith(b"POST")
                self.gets += head.startswith(b"GET")
                await self._answer(writer, is_streamed=b'"stream":true' in body)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _answer(self, writer: asyncio.StreamWriter, *, is_streamed: bool) -> None:
        mode = self._mode
        if mode == "stalled":
            await asyncio.Event().wait()
        if mode == "slow":
            await asyncio.sleep(SLOW_S)
        if mode == "small":
            await self._answer_if_there_is_room(writer)
            return
        if mode == "limited":
            _write(
                writer, b"429 Too Many Requests", b'{"error":{"message":"slow down"}}', b"retry-after: 20\r\n"
            )
        elif mode == "half broken" and next(self._numbers) % 10 == 0:
            _write(writer, b"500 Internal Server Error", b'{"error":{"message":"broken"}}')
        elif is_streamed:
            await self._stream(writer)
        else:
            _write(writer, b"200 OK", _ANSWER)
        await writer.drain()

    async def _answer_if_there_is_room(self, writer: asyncio.StreamWriter) -> None:
        if self._under_way >= SMALL_CAPACITY:
            self.refusals += 1
            _write(writer, b"429 Too Many Requests", b'{"error":{"message":"slow down"}}')
            return
        self._under_way += 1
        try:
            await asyncio.sleep(SMALL_TAKES_S)
        finally:
            self._under_way -= 1
        _write(writer, b"200 OK", _ANSWER)

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        self._streams += 1
        try:
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            for piece in (_CHUNK, _CHUNK, _CHUNK, b"data: [DONE]\n\n"):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await asyncio.sleep(CHUNK_S)
            writer.write(b"0\r\n\r\n")
        finally:
            self._streams -= 1


def _write(writer: asyncio.StreamWriter, status: bytes, body: bytes, more: bytes = b"") -> None:
    writer.write(
        b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n%b"
        % (status, len(body), more, body)
    )


@contextmanager
def faulty_teacher() -> Iterator[FaultyTeacher]:
    """Run one until the block ends."""
    teacher = FaultyTeacher()
    teacher.start()
    try:
        yield teacher
    finally:
        teacher.stop()


def teachers_file(first: FaultyTeacher, second: FaultyTeacher, **patience_s: float) -> str:
    """Return settings with both teachers, the first first, and how patiently they are asked."""
    lines = "".join(f"{name} = {value}\n" for name, value in patience_s.items())
    return "".join(
        f'[[teachers]]\nname = "{name}"\nbase_url = "{teacher.base_url}"\ncredential = "none"\n{lines}'
        for name, teacher in (("first", first), ("second", second))
    )
