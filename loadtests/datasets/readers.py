"""Recorded data sets as streams of requests with the teacher's answer, one reader per set."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path

import msgspec

from gateway.demo.run import read_traffic
from gateway.demo.tickets import Pair
from loadtests.datasets.public_source import find_cached

Labeled = Iterable[tuple[str, str]]


class DataSet(msgspec.Struct, frozen=True, kw_only=True):
    """A stream of pairs, and the alpha of the project's bars for it."""

    name: str
    pairs: list[Pair]
    alpha: float
    gold: dict[str, str] = {}
    """People's answers by text, where the teacher's are others."""


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """Reads the folder of one data set."""

    read: Callable[[Path], Labeled]
    prompt: str
    alpha: float = 0.02
    read_gold: Callable[[Path], Labeled] | None = None


def read_data(data: Path, seed: int, limit: int | None = None, task: str = "") -> DataSet:
    """Return the data set `data`, shuffled by `seed`, cut to `limit` requests.

    `data` is a folder, the name of a data set that was fetched, or a file. A folder is recognized by
    its name, and read in another way when `task` names one. A file is JSON Lines of {"messages",
    "answer"} and keeps its order: that of the traffic. Raises SystemExit with the known names otherwise.
    """
    path = data if data.exists() else find_cached(str(data))
    if path.is_file():
        return DataSet(name=path.stem, pairs=read_traffic(path)[:limit], alpha=0.02)
    name = f"{path.resolve().name}:{task}" if task else path.resolve().name
    reader = READERS.get(name)
    if reader is None:
        raise SystemExit(f"unknown data {path} ({name}); known: {', '.join(READERS)}, or a .jsonl file")
    pairs = _pairs(reader.read(path), reader.prompt)
    random.Random(seed).shuffle(pairs)
    gold = dict(reader.read_gold(path)) if reader.read_gold else {}
    return DataSet(name=name, pairs=pairs[:limit], alpha=reader.alpha, gold=gold)


def _pairs(rows: Labeled, prompt: str) -> list[Pair]:
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
    """The 3,080 messages that GPT labeled."""
    for row in _table(folder / "raw" / "banking77" / "test.csv"):
        yield row["text"], row["gpt-label"]


def _ocats_gold(folder: Path) -> Iterator[tuple[str, str]]:
    for row in _table(folder / "raw" / "banking77" / "test.csv"):
        yield row["text"], row["label"]


def _clinc150(folder: Path) -> Iterator[tuple[str, str]]:
    """The 22,500 messages of the 150 intents."""
    data = json.loads((folder / "data_full.json").read_bytes())
    for split in ("train", "val", "test"):
        yield from ((text, label) for text, label in data[split])


def _snips_intents(folder: Path) -> Iterator[tuple[str, str]]:
    for text, intent, _ in _snips(folder):
        yield text, intent


def _snips_json(folder: Path) -> Iterator[tuple[str, str]]:
    """The intent and its slots; a slot that an utterance fills twice (0.4 % of them) is a list."""
    for text, intent, found in _snips(folder):
        slots = {name: values if len(values) > 1 else values[0] for name, values in found.items()}
        yield text, json.dumps({"intent": intent, "slots": slots}, ensure_ascii=False)


def _snips(folder: Path) -> Iterator[tuple[str, str, dict[str, list[str]]]]:
    """Return utterance, intent, and the slots' values in the order of the utterance."""
    for path in sorted(folder.glob("*/train_*_full.json")) + sorted(folder.glob("*/validate_*.json")):
        raw = path.read_bytes()
        try:
            data = json.loads(raw.decode())
        except UnicodeDecodeError:  # some of the files are Latin-1
            data = json.loads(raw.decode("latin-1"))
        for intent, utterances in data.items():
            for utterance in utterances:
                parts = utterance["data"]
                slots: dict[str, list[str]] = {}
                for part in parts:
                    if "entity" in part and (value := part["text"].strip()):
                        slots.setdefault(part["entity"], []).append(value)
                yield "".join(part["text"] for part in parts), intent, slots


def _headlines(folder: Path) -> Iterator[tuple[str, str]]:
    for name in ("train.csv", "test.csv"):
        with (folder / name).open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                yield row[0].removeprefix("Q: ").removesuffix("\nA:"), row[1].strip()


def _nl2regex(folder: Path) -> Iterator[tuple[str, str]]:
    """The synthetic phrasings; people's phrasings (NL-RX-Turk) are of the same expressions."""
    texts, answers = (
        (folder / "NL-RX-Synth" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        for name in ("src", "targ")
    )
    yield from zip(texts, answers, strict=True)


def _biomed(folder: Path) -> Iterator[tuple[str, str]]:
    """BC5CDR's sentences, with the names of each kind, once each, in the order of the sentence."""
    for split in ("train", "devel", "test"):
        sentences = (folder / "BC5CDR-IOB" / f"{split}.tsv").read_text(encoding="utf-8").split("\n\n")
        for sentence in filter(str.strip, sentences):
            words = [line.split("\t") for line in sentence.strip().splitlines()]
            found: dict[str, dict[str, None]] = {"Chemical": {}, "Disease": {}}
            for kind, name in _entities(words):
                found[kind][name] = None
            answer = {kind: list(names) for kind, names in found.items()}
            yield " ".join(word for word, _ in words), json.dumps(answer, ensure_ascii=False)


def _entities(words: list[list[str]]) -> Iterator[tuple[str, str]]:
    """Return (kind, name) of each run of words tagged B-kind, I-kind, I-kind..."""
    for number, (word, tag) in enumerate(words):
        if tag.startswith("B-"):
            rest = takewhile(lambda pair: pair[1].startswith("I-"), words[number + 1 :])
            yield tag[2:], " ".join([word, *(word for word, _ in rest)])


def _table(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


READERS: dict[str, Reader] = {
    "banking77": Reader(read=_banking77, alpha=0.05, prompt="Name the banking intent of the message."),
    "ocats_gpt_labels": Reader(
        read=_ocats, read_gold=_ocats_gold, alpha=0.05, prompt="Number the banking intent."
    ),
    "clinc150": Reader(read=_clinc150, prompt="Name the intent of the message."),
    "snips_slots": Reader(read=_snips_intents, prompt="Name the intent of the utterance."),
    "snips_slots:json": Reader(
        read=_snips_json, alpha=0.05, prompt="Give the intent of the utterance and its slots as JSON."
    ),
    "nl2regex": Reader(read=_nl2regex, alpha=0.05, prompt="Write the regular expression which is described."),
    "biomed_ner": Reader(
        read=_biomed, alpha=0.05, prompt="List the chemicals and diseases of the sentence as JSON."
    ),
    "gold_headlines": Reader(
        read=_headlines, alpha=0.05, prompt="Which way goes the price of gold: up, down, neutral, none?"
    ),
}  # fmt: skip
