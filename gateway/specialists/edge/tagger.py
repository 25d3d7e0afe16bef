"""How a tagger drafts in a bundle; run.py imports it there."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

IMPOSSIBLE = -1e9
MAX_TOKENS = 256
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
JSON_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,"\s]+')


class Raw(str):
    """JSON that stands in the answer as it is."""

    __slots__ = ()


def create(folder: Path, facts: dict[str, Any], reader: Any) -> Tagger:
    """Return the tagger in `folder`."""
    return Tagger(folder, reader)


class Tagger:
    """A network that tags words and chooses options, perhaps with a linear classifier beside it."""

    def __init__(self, folder: Path, reader: Any) -> None:
        self.reader = reader
        self.grammar = json.loads((folder / "grammar.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "words.json"))
        self.network = reader.open_session(folder / "tagger.onnx")
        self.neighbors = np.load(folder / "neighbors.npy").astype(np.float32)
        self.option_head: dict[str, Any] = {}
        if (folder / "option_head.npz").exists():
            with np.load(folder / "option_head.npz") as head:
                self.option_head = dict(head)

    def draft(self, text: str) -> dict[str, Any]:
        """Return answer, score and evidence for `text`; ValueError if there is no honest answer to it."""
        vector = self.reader.encode(self.reader.tokenize(text))
        ids, firsts, starts, ends = self._split(text)
        given = {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, len(ids)), np.int64)}
        tags, options = self.network.run(["tags", "options"], given)
        opinions = [options[0]]
        if head := self.option_head:
            codes, weighted = self.reader.hash_ngrams(text), self.reader.weigh(vector)
            opinions.append(self.reader.judge(weighted, codes, head["coefficients"], head["intercept"]))
        found, chosen, logprobs = decode_answer(self.grammar, tags[0][firsts], opinions)
        return {
            "answer": compose_answer(self.grammar, text, chosen, find_spans(found, starts, ends)),
            "score": math.exp(sum(logprobs)),
            "min_logprob": min(logprobs, default=0.0),
            "similarity": float((self.neighbors @ vector).max()),
        }

    def _split(self, text: str) -> tuple[list[int], list[int], list[int], list[int]]:
        """Return the tokens; of each word its first token, and its characters [start, end)."""
        encoding = self.tokenizer.encode(text)
        if len(encoding.ids) > MAX_TOKENS:
            raise ValueError("input too long")
        firsts: list[int] = []
        starts: list[int] = []
        ends: list[int] = []
        previous = None
        for place, (word, (start, end)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
            if word is None:
                continue
            if word != previous:
                firsts.append(place)
                starts.append(start)
                ends.append(end)
            ends[-1] = max(end, ends[-1])
            previous = word
        if not firsts:
            raise ValueError("empty input")
        return encoding.ids, firsts, starts, ends


def decode_answer(
    grammar: dict[str, Any], tag_logits: Any, opinions: list[Any]
) -> tuple[list[int], list[int], list[float]]:
    """Return the likeliest tags and options, and the log-probability of each decision."""
    distributions: list[Any] = []
    tags = [0] * len(tag_logits)
    if tag_logits.shape[1] > 1:
        logprobs = log_softmax(tag_logits)
        tags = likeliest_tags(logprobs)
        distributions += list(logprobs)
    tagged, at = len(distributions), 0
    for field in grammar["fields"]:
        if count := count_options(field):
            parts = [log_softmax(each[at : at + count]) for each in opinions]
            distributions.append(parts[0] if len(parts) == 1 else log_softmax(np.mean(parts, axis=0)))
            at += count
    options = [int(each.argmax()) for each in distributions[tagged:]]
    chosen = [*(tags if tagged else ()), *options]
    return tags, options, [float(each[one]) for each, one in zip(distributions, chosen, strict=True)]


def compose_answer(
    grammar: dict[str, Any], text: str, options: list[int], spans: list[tuple[int, int, int]]
) -> str:
    """Return the answer to `text`; ValueError if a span should be a number and is none."""
    root: Any = {}
    for path in grammar["objects"]:
        set_value(root, path, {})
    remaining, first = iter(options), 0
    for field in grammar["fields"]:
        count = len(field["span_types"])
        own = [(kind - first, a, b) for kind, a, b in spans if first <= kind < first + count]
        option = next(remaining) if count_options(field) else None
        value = field_value(field, option, text, own)
        first += count
        if value is not None and not field["path"]:
            return write_answer(grammar, value)
        if value is not None:
            set_value(root, field["path"], value)
    return write_answer(grammar, root)


def write_answer(grammar: dict[str, Any], value: Any) -> str:
    """Return a value in the frame and style of the teacher."""
    frame, written = grammar["frame"], to_json(value)
    if frame == "text":
        return str(json.loads(written))
    styled = restyle(written, grammar["style"])
    return f"<tool_call>\n{styled}\n</tool_call>" if frame == "tool_call" else styled


def count_options(field: dict[str, Any]) -> int:
    """Return between how many options of a field the tagger decides: its choices, then its spans."""
    return len(field["choices"]) + bool(field["span_types"]) if len(field["choices"]) > 1 else 0


def log_softmax(logits: Any) -> Any:
    """Return the logarithm of the softmax over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def likeliest_tags(logprobs: Any) -> list[int]:
    """Return the likeliest sequence (Viterbi): 0 is outside, odd tags begin a span, even ones go on."""
    score = logprobs[0].copy()
    score[2::2] = IMPOSSIBLE
    origins, every_tag = [], np.arange(len(score))
    for row in logprobs[1:]:
        origin = np.full(len(score), int(score.argmax()))
        origin[2::2] = np.where(score[1::2] >= score[2::2], every_tag[1::2], every_tag[2::2])
        origins.append(origin)
        score = score[origin] + row
    tags = [int(score.argmax())]
    for origin in reversed(origins):
        tags.append(int(origin[tags[-1]]))
    return tags[::-1]


def find_spans(tags: list[int], starts: list[int], ends: list[int]) -> list[tuple[int, int, int]]:
    """Return kind, start and end of each span, in the order of the input."""
    edges = [number for number, tag in enumerate(tags) if tag == 0 or tag % 2]
    return [
        ((tags[begin] - 1) // 2, starts[begin], ends[after - 1])
        for begin, after in itertools.pairwise([*edges, len(tags)])
        if tags[begin]
    ]


def field_value(field: dict[str, Any], option: int | None, text: str, spans: list[Any]) -> Any:
    """Return the value of a field, None if it is left out."""
    choices = [Raw(each) if each else None for each in field["choices"]]
    if option is not None and option < len(choices):
        return choices[option]
    if not spans:
        return choices[0] if choices else None
    elements = [element(field["span_types"][kind], text[start:end]) for kind, start, end in spans]
    if field["is_distinct"]:
        elements = list({to_json(each): each for each in elements}.values())
    listing = field["listing"]
    is_list = listing == "always" or (listing == "several" and len(elements) > 1)
    return elements if is_list else elements[0]


def element(span_type: dict[str, Any], found: str) -> Any:
    """Return the JSON value of a span."""
    if span_type["is_number"] and not (NUMBER.fullmatch(found) and math.isfinite(float(found))):
        raise ValueError("answer malformed")
    value = Raw(found) if span_type["is_number"] else found
    if not span_type["element"]:
        return value
    return {key: Raw(constant) if constant else value for key, constant in span_type["element"]}


def set_value(root: dict[str, Any], path: list[str], value: Any) -> None:
    """Set `value` at `path`, unless something other than an object is on the way."""
    *way, last = path
    inner: Any = root
    for key in way:
        inner = inner.setdefault(key, {})
        if not isinstance(inner, dict):
            return
    inner[last] = value


def to_json(value: Any) -> str:
    """Return compact JSON, what is Raw as it is."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{to_json(key)}:{to_json(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(to_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def restyle(written: str, style: str) -> str:
    """Return JSON in a style: compact, spaced after commas and colons, or indented by two."""
    comma, colon = ("," if style == "compact" else ", "), (":" if style == "compact" else ": ")
    depth, out, parts = 0, "", JSON_PARTS.findall(written)
    for before, part in zip(["", *parts], parts, strict=False):
        is_end = part in ("}", "]")
        depth -= is_end
        if (
            style == "indented"
            and (before in ("{", "[", ",") or is_end)
            and not (is_end and before in ("{", "["))
        ):
            out += "\n" + "  " * depth
        out += {",": "," if style == "indented" else comma, ":": colon}.get(part, part)
        depth += part in ("{", "[")
    return out
