"""Runs one specialist from its folder, without stepdown: python run.py TEXT ... (or a text a line on stdin).

Needs onnxruntime, numpy and tokenizers, one core and 300 MB. Prints a JSON object per text: the answer, its
score, and whether the certificate lets it be served; ask the teacher otherwise. Every file is checked
against its hash first. `python run.py --check` drafts the bundle's own sentences and compares: on the type of
CPU that made the bundle every number is the same, on another one count how many are.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import itertools
import json
import math
import re
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

SIZES = ((256, "short"), (1_024, "medium"), (4_096, "long"))


class Specialist:
    """A head or a tagger and its encoder, read from a folder whose files are all as they were bundled."""

    def __init__(self, folder: Path) -> None:
        """Raise SystemExit naming a file that was changed."""
        self.facts: dict[str, Any] = json.loads((folder / "bundle.json").read_text())
        for name, digest in self.facts["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise SystemExit(f"{folder / name} is not the file that was bundled")
        # Only now: what lies beside this file is what was bundled.
        sys.path.insert(0, str(folder))
        sys.dont_write_bytecode = True
        drafter = importlib.import_module(self.facts["manifest"]["runtime"])
        self.drafter = drafter.create(folder, self.facts, Reader(folder, self.facts))

    def draft(self, text: str) -> dict[str, Any]:
        """Return answer, score and evidence for `text`; ValueError if it is empty or too long."""
        draft: dict[str, Any] = self.drafter.draft(text)
        return draft

    def is_served(self, text: str, draft: dict[str, Any]) -> bool:
        """Return whether the certificate speaks of such a text and of so sure a draft, today."""
        rule = self.facts["certificate"]
        if rule is None or time.time() >= rule["expires_at"]:
            return False
        size = next((name for most, name in SIZES if len(text) <= most), "huge")
        near = draft["similarity"]
        is_familiar = near is None or near >= rule["novelty_floor"]
        is_covered = f"single/{size}" in rule["forms"] and is_familiar
        return bool(is_covered and draft["score"] >= rule["threshold"])

    def check(self) -> tuple[int, int, int]:
        """Return how many of the bundle's own sentences get their numbers again, how many their answer."""
        pairs = [(probe["draft"], self.draft(probe["text"])) for probe in self.facts["probes"]]
        return sum(a == b for a, b in pairs), sum(a["answer"] == b["answer"] for a, b in pairs), len(pairs)


class Reader:
    """What heads and taggers see of a text: tokens, hashed words and word pairs, the encoder's vector."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.neighbors = np.load(folder / "neighbors.npy").astype(np.float32)
        self.session = self.open_session(folder / "encoder.onnx")

    @staticmethod
    def open_session(model: Path) -> Any:
        """Return a session of one thread."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        # An encoder's weights lie beside its graph, which names them by their place in that file.
        beside = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(beside, str(model.parent))
        return ort.InferenceSession(
            model.read_bytes(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],
        )

    def tokenize(self, text: str) -> list[int]:
        """Return the encoder's tokens; ValueError if there are none or too many."""
        try:
            ids: list[int] = self.tokenizer.encode(text).ids
        except (TypeError, UnicodeError):
            raise ValueError("input unreadable") from None
        if not text.strip() or len(ids) > self.facts["max_tokens"]:
            raise ValueError("empty input" if not text.strip() else "input too long")
        return ids

    def hash_ngrams(self, text: str) -> list[int]:
        """Return the codes of words and word pairs."""
        words = re.findall(r"\w+", text.lower())
        grams = (*words, *map(" ".join, itertools.pairwise(words)))
        return [zlib.crc32(gram.encode("utf-8", "surrogatepass")) for gram in grams]

    def encode(self, tokens: list[int]) -> Any:
        """Return the unit vector of a text with these `tokens`."""
        ids = np.array([tokens], np.int64)
        known = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        given = {each.name: known[each.name] for each in self.session.get_inputs()}
        output = self.session.run(None, given)[0]
        pooled = output[0] if output.ndim == 2 else output[0].mean(axis=0, dtype=np.float32)
        return (pooled / np.linalg.norm(pooled)).astype(np.float32)

    def similarity(self, vector: Any) -> float:
        """Return the cosine to the nearest lesson."""
        return float((self.neighbors @ vector).max())

    def weigh(self, vector: Any) -> Any:
        """Return the vector with the weight that it has beside hashed n-grams."""
        return vector * np.float32(self.facts["embedding_weight"])

    def judge(self, dense: Any, codes: list[int], coefficients: Any, intercept: Any) -> Any:
        """Return the logits of a linear classifier for a weighted vector and hashed n-grams."""
        size = len(dense)
        indices, values = self._fold(codes)
        logits = dense @ coefficients[:size] + intercept
        return logits + values @ coefficients[size:][indices]

    def _fold(self, codes: list[int]) -> tuple[Any, Any]:
        bins: dict[int, int] = {}
        for code in codes:
            index = code % self.facts["hashed_bins"]
            bins[index] = bins.get(index, 0) + (-1 if code & 1 << 31 else 1)
        counts = {index: count for index, count in bins.items() if count}
        scale = self.facts["hashed_weight"] / math.sqrt(sum(count * count for count in counts.values()) or 1)
        return np.array(list(counts), np.int32), np.array([n * scale for n in counts.values()], np.float32)


def main() -> None:
    """Answer what the command line or the standard input asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text", nargs="*", help="what to answer (each line of stdin)")
    parser.add_argument("--check", action="store_true", help="compare with the machine that made the bundle")
    options = parser.parse_args()
    specialist = Specialist(Path(__file__).resolve().parent)
    if options.check:
        same, agreed, count = specialist.check()
        _say(f"{same} of {count} drafts are the same to the last bit, {agreed} have the same answer")
        sys.exit(0 if agreed == count else 1)
    for text in options.text or (line.rstrip("\n") for line in sys.stdin):
        try:
            draft = specialist.draft(text)
            _say(json.dumps({**draft, "is_served": specialist.is_served(text, draft)}))
        except ValueError as exc:
            _say(json.dumps({"error": str(exc), "is_served": False}))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
