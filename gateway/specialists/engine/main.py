"""The engine: a child process of its own, because generation holds Python's lock for milliseconds a step.

It reads orders from stdin and writes drafts to stdout, until stdin closes.
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

from gateway.ipc.framing import FrameDecoder, frame_payload
from gateway.specialists.engine.protocol import (
    Cancel,
    FromEngine,
    Generate,
    ToEngine,
    UnloadAdapter,
    encode,
    to_engine,
)

_READ_BYTES = 1 << 16
_MOST_ROWS = 16
"""Beyond, a batch gets no faster a token and its first answer later."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the base in a folder."""
    parser = argparse.ArgumentParser(prog="gateway.specialists.engine.main", description=__doc__)
    parser.add_argument("folder", type=Path, help="a verified base")
    parser.add_argument("--memory-mb", type=int, required=True, help="most memory of this process")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # An allocation beyond fails in this process instead of waking the kernel's killer.
    limit = options.memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    # Whatever a library prints must not get between our frames.
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    desk = Inbox(out)
    threading.Thread(target=desk.read_for_ever, args=(sys.stdin.fileno(),), daemon=True).start()

    from gateway.specialists.engine.generator import Generation

    generation = Generation(options.folder, options.memory_mb)
    while True:
        orders = desk.next_batch()
        for adapter in desk.forgotten():
            generation.forget(adapter)
        try:
            generation.run(orders, desk)
        except MemoryError as exc:
            # A new process starts with its memory in one piece.
            sys.exit(f"the engine of {options.folder} ends: {exc}")


class Inbox:
    """The orders which wait, and the way out for what becomes of them."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[Generate] = []
        self._arrived = threading.Condition()
        self._withdrawn: set[int] = set()
        self._forgotten: list[str] = []

    def read_for_ever(self, descriptor: int) -> None:
        """Take orders in until the parent is gone, then end this process."""
        frames = FrameDecoder()
        while data := os.read(descriptor, _READ_BYTES):
            for payload in frames.feed(data):
                self._take(to_engine(payload))
        os._exit(0)

    def next_batch(self) -> list[Generate]:
        """Wait; return what can be generated together, the oldest order and its like, if there is any."""
        with self._arrived:
            while not self._waiting and not self._forgotten:
                self._arrived.wait()
            if not self._waiting:
                return []
            first = self._waiting[0]
            batch = [order for order in self._waiting if _are_alike(order, first)][:_MOST_ROWS]
            taken = {order.id for order in batch}
            self._waiting = [order for order in self._waiting if order.id not in taken]
            # Whoever left before his turn is forgotten with it.
            self._withdrawn &= taken | {order.id for order in self._waiting}
            return batch

    def forgotten(self) -> list[str]:
        """Return the adapters which are needed no longer, each once."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    def has_left(self, number: int) -> bool:
        """Whether nobody waits for order `number` any more."""
        return number in self._withdrawn

    def say(self, message: FromEngine) -> None:
        """Send a message to the parent."""
        data = frame_payload(encode(message))
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _take(self, message: ToEngine) -> None:
        with self._arrived:
            match message:
                case Generate():
                    self._waiting.append(message)
                    self._arrived.notify()
                case Cancel():
                    self._withdrawn.add(message.id)
                    self._waiting = [order for order in self._waiting if order.id != message.id]
                case UnloadAdapter():
                    self._forgotten.append(message.adapter)
                    self._arrived.notify()


def _are_alike(one: Generate, other: Generate) -> bool:
    """Whether two orders can share a batch: with one adapter, and neither's form prescribed.

    The library's guidance fails when one row of a batch ends before another
    (onnxruntime-genai 0.18: "compute_mask() called after stop").
    """
    if one.draft_request.response_format or other.draft_request.response_format:
        return one.id == other.id
    return one.adapter == other.adapter


if __name__ == "__main__":
    main()
