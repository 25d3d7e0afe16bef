"""Model hosts and models for tests: real processes and files, with a numpy routine for a recipe."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from gateway.core import DraftRequest
from gateway.distill.familiarity_fit import fit_familiarity
from gateway.distill.lesson_owners import write_lesson_owners
from gateway.harvest.base import Row
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.specialists.base import Encoder, NullListener, Prediction, Runtime, Vectorizer
from gateway.specialists.encoders import minilm
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.familiarity import write_familiarity
from gateway.specialists.host.listener import SendReply
from gateway.specialists.knn import FloatVector
from gateway.specialists.learnt import write_learnt_texts
from gateway.specialists.linear.features import feature_width
from gateway.specialists.protocol import HostReply
from gateway.specialists.runtimes.head import runtime as head
from gateway.specialists.runtimes.scripted import SCRIPT, Script
from gateway.specialists.shared_resources import SharedResources
from tests.support.waiting import PATIENCE_S

MINILM = minilm.name_encoder()

EXAMPLES = {
    "where is my card": "card_arrival",
    "my card has not come yet": "card_arrival",
    "the exchange rate is wrong": "exchange_rate",
    "what rate do you use for euros": "exchange_rate",
    "i forgot my pin": "pin",
    "change the pin of my card": "pin",
}


class FlatEncoder:
    """An encoder without a model: the same vector for every text."""

    name = "flat@0"
    dimension = 4
    word_vectors: Vectorizer | None = None

    def encode(self, text: str) -> FloatVector:
        """Return the diagonal."""
        return np.full(4, 0.5, np.float32)


def make_head(encoder: Encoder, examples: dict[str, str], sharpness: float = 10.0) -> head.Head:
    """Return a head that answers by the nearest mean of its examples' embeddings."""
    answers = sorted(set(examples.values()))
    vectors = {text: np.asarray(encoder.encode(text), np.float32) for text in examples}
    means = [
        np.mean([vectors[text] for text, answer in examples.items() if answer == wanted], axis=0)
        for wanted in answers
    ]
    coefficients = np.zeros((feature_width(encoder.dimension), len(answers)), np.float32)
    coefficients[: encoder.dimension] = sharpness * np.array(means).T
    return head.Head(
        coefficients=coefficients,
        intercept=np.zeros(len(answers), np.float32),
        answers=tuple(answers),
        answer_tokens=tuple(len(answer) for answer in answers),
    )


def write_head(folder: Path, encoder: Encoder, made: head.Head | None = None) -> None:
    """Write a head of EXAMPLES, or `made` with as many answers, and its familiarity into `folder`."""
    head.write_head(made or make_head(encoder, EXAMPLES), folder)
    vectors = [np.asarray(encoder.encode(text), np.float32) for text in EXAMPLES]
    numbered = sorted(set(EXAMPLES.values()))
    given = [numbered.index(answer) for answer in EXAMPLES.values()]
    write_familiarity(fit_familiarity(vectors, given, len(numbered)), folder)


def resources_of(encoder: Encoder) -> SharedResources:
    """Return the resources of a host without base models."""
    return SharedResources(encoder, EnginePool(Path("no-models"), 256))


def drafted(runtime: Runtime, text: str) -> Prediction:
    """Return the prediction of `runtime` for `text`, not streamed."""
    return runtime.draft(DraftRequest(text=text), NullListener())


def publish_head(registry: Registry, scratch: Path, encoder: Encoder, version: int = 1) -> Path:
    """Publish a head of EXAMPLES as a version of the task "support"; return its folder."""
    scratch.mkdir(parents=True)
    write_head(scratch, encoder)
    return publish_trained(registry, scratch, encoder, version)


def publish_trained(
    registry: Registry, folder: Path, encoder: Encoder, version: int = 1, runtime: str = "head"
) -> Path:
    """Publish what is in `folder` as a version of the task "support"; return its folder."""
    return _publish(registry, folder, runtime, encoder.name, version)


def publish_script(
    registry: Registry,
    scratch: Path,
    script: Script,
    version: int = 1,
    encoder: str = MINILM,
    *,
    task: str = "support",
) -> Path:
    """Publish a scripted specialist as a version of `task`; return its folder."""
    scratch.mkdir(parents=True)
    (scratch / SCRIPT).write_bytes(msgspec.json.encode(script))
    return _publish(registry, scratch, "scripted", encoder, version, task=task)


def publish_learnt(
    registry: Registry, scratch: Path, version: int, *texts: str, task: str, rows: Sequence[Row] = ()
) -> None:
    """Publish a version of `task` that has learnt `texts`, and knows whose `rows` were; it cannot draft."""
    scratch.mkdir()
    write_learnt_texts(texts, scratch)
    write_lesson_owners(rows, scratch)
    _publish(registry, scratch, "head", MINILM, version, task=task)


def _publish(
    registry: Registry, scratch: Path, runtime: str, encoder: str, version: int, *, task: str = "support"
) -> Path:
    registry.publish(
        Manifest(
            task=task,
            version=version,
            runtime=runtime,
            encoder=encoder,
            created_at=0.0,
            recipe="test",
            seed=0,
            rows=len(EXAMPLES),
            answers=3,
        ),
        scratch,
    )
    return registry.verify(task, version)[1]


class ReplyInbox:
    """Collects the replies to numbered requests."""

    def __init__(self) -> None:
        self._replies: dict[int, asyncio.Future[HostReply]] = {}

    def to(self, number: int) -> SendReply:
        """Return the function that takes the reply to request `number`."""
        return self._of(number).set_result

    async def get(self, number: int) -> HostReply:
        """Return the reply to request `number`."""
        return await asyncio.wait_for(self._of(number), PATIENCE_S)

    def _of(self, number: int) -> asyncio.Future[HostReply]:
        return self._replies.setdefault(number, asyncio.get_running_loop().create_future())


class HostProcess:
    """A running model host."""

    def __init__(self, socket: Path, *arguments: str) -> None:
        self.socket = socket
        models = ["--models", str(socket.parent / "models")]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gateway.specialists.host.process",
                "--socket",
                str(socket),
                *models,
                *arguments,
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait_until_up(self, seconds: float = PATIENCE_S) -> None:
        """Return once the host listens: it does so only when it can draft."""
        deadline = time.monotonic() + seconds
        while not _listens(self.socket):
            assert self.process.poll() is None, self.last_words()
            assert time.monotonic() < deadline, "the host did not come up"
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the host."""
        os.kill(self.process.pid, number)

    def last_words(self) -> str:
        """Wait for the end of a host that ends by itself; return its stderr."""
        assert self.process.stderr is not None
        self.process.wait(PATIENCE_S)
        return self.process.stderr.read().decode()

    def end(self) -> None:
        """Kill the host, frozen or not."""
        self.process.kill()
        self.process.wait(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe is not None:
                pipe.close()


@contextmanager
def running_host(socket: Path) -> Iterator[HostProcess]:
    """Run a model host until the block ends; it is up when the block begins."""
    host = HostProcess(socket)
    try:
        host.wait_until_up()
        yield host
    finally:
        host.end()


def _listens(path: Path) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
