from __future__ import annotations

import asyncio
import zlib
from pathlib import Path

import numpy as np
import pytest

from gateway.demo.tickets import Pair, generate_tickets
from gateway.settings import Learn
from loadtests.in_process import StoredEncoder, TrainingMemory, open_gateway

CHUNK = 200
CHUNKS = 7


class HashingEncoder:
    """Embeds a text as the sum of its words' random vectors."""

    name = "hashing"
    dimension = 64
    word_vectors = None

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, text: str) -> object:
        self.encoded += 1
        words = [np.random.default_rng(zlib.crc32(word.encode())).normal(size=64) for word in text.split()]
        vector = np.sum(words, axis=0).astype(np.float32)
        return vector / np.linalg.norm(vector)


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    policy = 'policies:\n  - name: default\n    models: ["*"]\n    alpha: 0.1\n'
    (tmp_path / "default.yaml").write_text(policy)
    return tmp_path


def _replay(
    policies: Path, pairs: list[Pair], memory: TrainingMemory | None = None
) -> tuple[list[str], list[str], dict[str, object]]:
    """Return who served each request, what the learner did, and the status at the end."""
    served, events = [], []
    learn = Learn(recipes=("head",))
    with open_gateway(policies, HashingEncoder(), learn, memory=memory) as gateway:
        for start in range(0, len(pairs), CHUNK):
            answers = asyncio.run(gateway.answer_all(pairs[start : start + CHUNK], "gpt-4o"))
            served += [answer.served_by for answer in answers]
            events += gateway.learn()
        return served, events, gateway.status()


def test_a_replay_learns_serves_locally_and_gives_the_same_again(policies: Path) -> None:
    pairs = list(generate_tickets(CHUNKS * CHUNK, seed=0))

    served, events, status = _replay(policies, pairs)

    assert set(served[:CHUNK]) == {"teacher"}
    assert served[-CHUNK:].count("teacher") < CHUNK / 2
    assert any(" certified" in event for event in events)
    assert 0.0 < status["costs"]["usd"] < status["costs"]["counterfactual_usd"]  # type: ignore[index]
    assert _replay(policies, pairs) == (served, events, status)


def test_what_was_trained_before_is_the_same_when_it_is_remembered(policies: Path) -> None:
    pairs = list(generate_tickets(3 * CHUNK, seed=0))
    alone = _replay(policies, pairs)

    with TrainingMemory() as memory:
        first = _replay(policies, pairs, memory)
        trained = dict(memory.reports)
        again = _replay(policies, pairs, memory)

    assert alone == first == again
    assert trained == dict(memory.reports)


def test_a_stored_vector_is_not_computed_again(tmp_path: Path) -> None:
    first, second = HashingEncoder(), HashingEncoder()
    encoder = StoredEncoder(first, tmp_path / "vectors", "tickets")
    vector = encoder.encode("where is my kettle")
    encoder.save()

    again = StoredEncoder(second, tmp_path / "vectors", "tickets")

    assert np.array_equal(np.asarray(again.encode("where is my kettle")), np.asarray(vector))
    assert (first.encoded, second.encoded) == (1, 0)
