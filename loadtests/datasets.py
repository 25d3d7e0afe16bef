"""Recorded data sets as streams of requests with the teacher's answer."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from gateway.demo.run import read_traffic
from gateway.demo.tickets import Pair

Labelled = Iterable[tuple[str, str]]


class DataSet(msgspec.Struct, frozen=True, kw_only=True):
    """A stream of pairs, and the alpha at which the project's bars speak of it."""

    name: str
    pairs: list[Pair]
    alpha: float


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """How to read one data set's folder."""

    read: Callable[[Path], Labelled]
    prompt: str
    alpha: float = 0.02


def read_data(path: Path, seed: int, limit: int | None = None) -> DataSet:
    """Return the data set at `path`, shuffled by `seed`, cut to `limit` requests.

    A folder is recognised by its name; a file is JSON Lines of {"messages", "answer"} and keeps
    its order, which is the traffic's own. Raises SystemExit with what is known otherwise.
    """
    if path.is_file():
        return DataSet(name=path.stem, pairs=read_traffic(path)[:limit], alpha=0.02)
    source = SOURCES.get(path.resolve().name)
    if source is None or not path.is_dir():
        raise SystemExit(f"unknown data {path}; known: {', '.join(SOURCES)}, or a .jsonl file")
    pairs = _pairs(source.read(path), source.prompt)
    random.Random(seed).shuffle(pairs)
    return DataSet(name=path.resolve().name, pairs=pairs[:limit], alpha=source.alpha)


def _pairs(rows: Labelled, prompt: str) -> list[Pair]:
    # A recorded teacher has one answer to one text: where the data repeat a text with another
    # label, the first counts.
    answers: dict[str, str] = {}
    texts = []
    for text, label in rows:
        answers.setdefault(text, label)
        texts.append(text)
    return [
        Pair([{"role": "system", "content": prompt}, {"role": "user", "content": text}], answers[text])
        for text in texts
    ]


def _banking77(folder: Path) -> Iterator[tuple[str, str]]:
    for name in ("train.csv", "test.csv"):
        for row in _table(folder / name):
            yield row["text"], row["category"]


def _ocats(folder: Path) -> Iterator[tuple[str, str]]:
    """The 3,080 messages which GPT really labelled."""
    for row in _table(folder / "raw" / "banking77" / "test.csv"):
        yield row["text"], row["gpt-label"]


def _clinc150(folder: Path) -> Iterator[tuple[str, str]]:
    """The 22,500 messages of the 150 intents."""
    data = json.loads((folder / "data_full.json").read_bytes())
    for split in ("train", "val", "test"):
        yield from ((text, label) for text, label in data[split])


def _snips(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob("*/train_*_full.json")) + sorted(folder.glob("*/validate_*.json")):
        raw = path.read_bytes()
        try:
            data = json.loads(raw.decode())
        except UnicodeDecodeError:  # some of the files are Latin-1
            data = json.loads(raw.decode("latin-1"))
        for intent, utterances in data.items():
            for utterance in utterances:
                yield "".join(part["text"] for part in utterance["data"]), intent


def _headlines(folder: Path) -> Iterator[tuple[str, str]]:
    for name in ("train.csv", "test.csv"):
        with (folder / name).open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                yield row[0], row[1].strip()


def _table(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


SOURCES: dict[str, Source] = {
    "banking77": Source(read=_banking77, alpha=0.05, prompt="Name the banking intent of the message."),
    "ocats_gpt_labels": Source(read=_ocats, alpha=0.05, prompt="Number the banking intent."),
    "clinc150": Source(read=_clinc150, prompt="Name the intent of the message."),
    "snips_slots": Source(read=_snips, prompt="Name the intent of the utterance."),
    "gold_headlines": Source(
        read=_headlines, alpha=0.05, prompt="Which way goes the price of gold: up, down, neutral, none?"
    ),
}  # fmt: skip
