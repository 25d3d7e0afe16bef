"""The engine: a process of its own, because generation holds Python's lock for milliseconds per step.

It reads requests from stdin and writes replies to stdout, until stdin closes.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from gateway.ipc.framing import FrameDecoder
from gateway.specialists.engine.protocol import (
    EngineReply,
    EngineRequest,
    Generate,
    UnloadAdapter,
    decode_request,
)
from gateway.specialists.protocol import Cancel, encode_frame

_READ_BYTES = 1 << 16
_MAX_ROWS = 16
"""A larger batch is no faster per token, and its first answer comes later."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the base in a folder."""
    parser = argparse.ArgumentParser(prog="gateway.specialists.engine.main", description=__doc__)
    parser.add_argument("folder", type=Path, help="a verified base")
    parser.add_argument("--memory-mb", type=int, required=True, help="memory limit of this process")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Beyond the limit an allocation fails in this process, instead of waking the kernel's killer.
    limit = options.memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    # What a library prints must not come between the frames.
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    inbox = Inbox(out)
    threading.Thread(target=inbox.read_requests, args=(sys.stdin.fileno(),), daemon=True).start()

    from gateway.specialists.engine.generator import Generator

    generator = Generator(options.folder, options.memory_mb)
    while True:
        batch = inbox.next_batch()
        for adapter in inbox.take_unloads():
            generator.unload_adapter(adapter)
        try:
            generator.run_batch(batch, inbox)
        except MemoryError as exc:
            # A new process starts with its memory in one piece.
            sys.exit(f"the engine of {options.folder} ends: {exc}")


class Inbox:
    """The requests that wait, and the file descriptor for their replies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[Generate] = []
        self._arrived = threading.Condition()
        self._cancelled: set[int] = set()
        self._unloads: list[str] = []

    def read_requests(self, descriptor: int) -> None:
        """Read requests until the parent is gone, then end this process."""
        decoder = FrameDecoder()
        while data := os.read(descriptor, _READ_BYTES):
            for payload in decoder.feed(data):
                self._accept(decode_request(payload))
        os._exit(0)

    def next_batch(self) -> list[Generate]:
        """Wait for work; return the oldest request and those that can share its batch.

        Empty if there are only adapters to unload.
        """
        with self._arrived:
            while not self._waiting and not self._unloads:
                self._arrived.wait()
            if not self._waiting:
                return []
            first = self._waiting[0]
            batch = [request for request in self._waiting if _can_share_batch(request, first)][:_MAX_ROWS]
            taken = {request.id for request in batch}
            self._waiting = [request for request in self._waiting if request.id not in taken]
            # Numbers that are neither at work nor waiting were cancelled before their turn.
            self._cancelled &= taken | {request.id for request in self._waiting}
            return batch

    def take_unloads(self) -> list[str]:
        """Return the adapters to unload, each request to do so once."""
        unloads, self._unloads = self._unloads, []
        return unloads

    def is_cancelled(self, number: int) -> bool:
        """Whether the reply to request `number` is wanted no longer."""
        return number in self._cancelled

    def send_reply(self, reply: EngineReply) -> None:
        """Send a reply to the parent."""
        data = encode_frame(reply)
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _accept(self, message: EngineRequest) -> None:
        with self._arrived:
            match message:
                case Generate():
                    self._waiting.append(message)
                    self._arrived.notify()
                case Cancel():
                    self._cancelled.add(message.id)
                    self._waiting = [request for request in self._waiting if request.id != message.id]
                case UnloadAdapter():
                    self._unloads.append(message.adapter)
                    self._arrived.notify()


def _can_share_batch(one: Generate, other: Generate) -> bool:
    """Whether two requests can share a batch: same adapter, and no schema in either.

    The library's guidance fails when one row of a batch ends before another
    (onnxruntime-genai 0.18: "compute_mask() called after stop").
    """
    if one.draft_request.response_format or other.draft_request.response_format:
        return one.id == other.id
    return one.adapter == other.adapter


if __name__ == "__main__":
    main()
