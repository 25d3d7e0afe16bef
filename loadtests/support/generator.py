"""A load generator that costs so little CPU that it is never the bottleneck.

`python -m loadtests.support.generator` reads one Job a line from its input and prints one Result a line.
`Generator` is the other side: it starts that process and hands it jobs.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self, cast

import msgspec
import uvloop

from loadtests.support.timestamps import delays_ms

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
DECISION = re.compile(rb"\r\nx-stepdown-decision: (\w+)")
GRACE_S = 30.0
"""Time for answers beyond the job's own time before the job fails."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Requests to 127.0.0.1, `in_flight` at a time, over as many kept-alive connections.

    `requests` are whole HTTP requests; they are sent in turn, from the first again after the last,
    until `count` are sent or `seconds` are over.
    """

    port: int
    requests: list[bytes]
    in_flight: int
    count: int = sys.maxsize
    seconds: float = 60.0
    opened_per_s: float | None = None
    """Rate at which connections are opened; as fast as possible if None."""
    times_chunks: bool = False
    """Record the time of each body's first byte, and the age of its timestamps (`support.timestamps`)."""


class Result(msgspec.Struct, kw_only=True):
    """The answers. `latencies_ms` is by `x-stepdown-decision`, "" for answers without it."""

    latencies_ms: dict[str, list[float]] = {}
    pieces: int = 0
    """HTTP chunks, an answer with a content-length counting as one."""
    first_ms: list[float] = []
    """From request to first byte of the body, if the job times chunks."""
    delays_ms: list[float] = []
    """Of every stamped chunk, if the job times chunks."""
    failed: list[str] = []
    """Status lines other than 200, connections refused or lost during an answer, late answers."""
    seconds: float = 0.0
    cpu_s: float = 0.0
    """Of the generator's own process."""

    @property
    def answers(self) -> int:
        """The number of good answers."""
        return sum(len(some) for some in self.latencies_ms.values())


class Generator:
    """The sending process; use as a context manager."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "loadtests.support.generator"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            self._process.terminate()

    def run(self, job: Job) -> Result:
        """Return the result of `job`. Raises RuntimeError if any request failed."""
        result = self.attempt(job)
        if result.failed:
            raise RuntimeError(f"{len(result.failed)} requests failed, the first with {result.failed[0]}")
        return result

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def attempt(self, job: Job) -> Result:
        """Return the result of `job`, failures included."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        process.stdin.flush()
        return msgspec.json.decode(process.stdout.readline(), type=Result)


class _Run:
    """A job in progress."""

    def __init__(self, job: Job) -> None:
        self.result = Result()
        self.times_chunks = job.times_chunks
        self._sent = 0
        self._job = job
        self._requests: Iterator[bytes] = itertools.cycle(job.requests)
        self._ends_at = time.perf_counter() + job.seconds

    def next_request(self) -> bytes | None:
        """Return the next request, None once the job is done."""
        if self._sent >= self._job.count or time.perf_counter() >= self._ends_at:
            return None
        self._sent += 1
        return next(self._requests)


class _Sender(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, run: _Run) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._run = run
        self._buffer = bytearray()
        self._decision: str | None = None
        self._left = 0
        self._is_good = False
        self._is_chunked = False
        self._has_begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not subclass asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._run.result.failed.append(f"connection lost: {exc}")
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._decision is None and not self._read_head():
            return
        if self._run.times_chunks and self._buffer:
            self._time_chunks(data)
        is_whole = self._read_chunks() if self._is_chunked else len(self._buffer) >= self._left
        if not is_whole:
            return
        if not self._is_chunked:
            self._run.result.pieces += 1
        assert self._decision is not None
        if self._is_good:
            self._run.result.latencies_ms.setdefault(self._decision, []).append(self._waited_ms())
        self._send()

    def give_up(self) -> None:
        """Count a request without a whole answer as failed."""
        if not self.done.done():
            self._run.result.failed.append("no whole answer in time")
            self.done.set_result(None)
            self._transport.abort()

    def _send(self) -> None:
        request = self._run.next_request()
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._buffer.clear()
        self._decision = None
        self._has_begun = False
        self._begun = time.perf_counter()
        self._transport.write(request)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._is_good = head.startswith(b"HTTP/1.1 200")
        if not self._is_good:
            self._run.result.failed.append(head.partition(b"\r\n")[0].decode("latin-1"))
        length, decision = LENGTH.search(head), DECISION.search(head)
        self._decision = decision[1].decode() if decision else ""
        self._is_chunked = length is None
        self._left = int(length[1]) if length else 0
        return True

    def _time_chunks(self, data: bytes) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._run.result.first_ms.append(self._waited_ms())
        self._run.result.delays_ms += delays_ms(data)

    def _waited_ms(self) -> float:
        return (time.perf_counter() - self._begun) * 1000

    def _read_chunks(self) -> bool:
        """Drop every whole chunk; return whether the last one arrived."""
        buffer, start = self._buffer, 0
        while (end := buffer.find(b"\r\n", start)) >= 0:
            size = int(buffer[start:end], 16)
            if len(buffer) < end + size + 4:
                break
            start = end + size + 4
            if not size:
                return True
            self._run.result.pieces += 1
        del buffer[:start]
        return False


async def _perform(job: Job) -> Result:
    run = _Run(job)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    senders: list[_Sender] = []
    try:
        async with asyncio.timeout(job.seconds + GRACE_S):
            await _connect(job, run, senders)
            # Unlike `gather`, it does not cancel the late ones.
            await asyncio.wait([sender.done for sender in senders])
    except TimeoutError:
        pass  # late senders are counted below
    except OSError as exc:
        run.result.failed.append(f"no connection: {exc}")
    for sender in senders:
        sender.give_up()
    run.result.seconds = time.perf_counter() - begun
    run.result.cpu_s = time.process_time() - cpu_begun
    return run.result


async def _connect(job: Job, run: _Run, senders: list[_Sender]) -> None:
    """Open the job's connections one by one; each sends as soon as it is open."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(job.in_flight):
        if job.opened_per_s:
            await asyncio.sleep(begun + number / job.opened_per_s - loop.time())
        opened = await loop.create_connection(lambda: _Sender(run), "127.0.0.1", job.port)
        senders.append(opened[1])


def main() -> None:
    """Perform jobs until the input ends."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin.buffer:
            result = runner.run(_perform(msgspec.json.decode(line, type=Job)))
            sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
