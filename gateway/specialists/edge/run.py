"""Runs one specialist from its folder, without stepdown: python run.py TEXT ... (or a text a line on stdin).

Needs Python 3.11, the packages in requirements.txt, one core and 300 MB. Prints a JSON object per text: the
answer, its score, and whether the certificate lets it be served; ask the teacher otherwise. First it checks
every file against its hash, and drafts the bundle's own sentences: on the type of CPU that made the bundle,
with those packages, every number is the same (`python run.py --check` counts). Where they differ by more than
rounding, the certificate speaks of another specialist: nothing is served, and stderr says so.

A text is a user's message alone, without the prompt around it: as an argument if it has several lines. What a
request demands besides (a schema, stop strings, max_tokens) is for the caller to check.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import itertools
import json
import math
import re
import sys
import time
import unicodedata
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import tokenizers
from tokenizers import Tokenizer

SIZES = ((256, "short"), (1_024, "medium"), (4_096, "long"))
CHARS_PER_TOKEN = 32  # At most; a longer text is refused before it costs time and memory.
LONG_RUN = re.compile(r"[^\w\s\x00-\u02ff]{32}")  # Left as it is: sorting it takes quadratic time.
ROUNDING = 1e-4  # Other sums of the same products differ by 1e-6, another int8 kernel by 1e-2.


class Specialist:
    """A head or a tagger and its encoder, read from a folder whose files are all as they were bundled."""

    def __init__(self, folder: Path) -> None:
        """Raise SystemExit naming a file that is missing or was changed."""
        self.facts = read_verified(folder)
        name = self.facts["manifest"]["runtime"]
        # By its file: `import` would prefer a package of that name, which was not bundled.
        spec: Any = importlib.util.spec_from_file_location(f"bundled_{name}", folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.dont_write_bytecode = True
        spec.loader.exec_module(module)
        self.drafter = module.create(folder, self.facts, Reader(folder, self.facts))
        learnt = folder / "learnt.npy"
        self.learnt = frozenset(np.load(learnt).tolist()) if learnt.exists() else frozenset()
        self.probed = [(probe["draft"], self._try(probe["text"])) for probe in self.facts["probes"]]

    def draft(self, text: str) -> dict[str, Any]:
        """Return answer, score and evidence for `text`; ValueError if it is empty or too long."""
        draft: dict[str, Any] = self.drafter.draft(text)
        return draft

    def is_served(self, text: str, draft: dict[str, Any]) -> bool:
        """Return whether a certificate speaks of such a text and of so sure a draft, today and here.

        Texts that were learnt have a certificate of their own.
        """
        rule = self.facts["certificates"].get("learnt" if hash_text(text) in self.learnt else "new")
        if rule is None or time.time() >= rule["expires_at"] or not self.is_certified_here():
            return False
        size = next((name for most, name in SIZES if len(text) <= most), "huge")
        near = draft["similarity"]
        is_familiar = near is None or near >= rule["novelty_floor"]
        is_covered = f"single/{size}" in rule["forms"] and is_familiar and draft["answer"].strip()
        return bool(is_covered and draft["score"] >= rule["threshold"])

    def is_certified_here(self) -> bool:
        """Return whether this machine drafts the bundle's own sentences alike, but for rounding."""
        return bool(self.probed) and all(
            a["answer"] == b.get("answer")
            and abs(a["score"] - b["score"]) <= ROUNDING
            and abs((a["similarity"] or 0.0) - (b["similarity"] or 0.0)) <= ROUNDING
            for a, b in self.probed
        )

    def find_obstacle(self) -> str:
        """Return why nothing at all is served here and now; empty if something may be."""
        if not self.is_certified_here():
            return f"the certificate does not hold on this machine, {self.describe_check()}{self._packages()}"
        rules = self.facts["certificates"].values()
        if not rules:
            return "no certificate was in force when it was bundled"
        is_over = time.time() >= max(rule["expires_at"] for rule in rules)
        return "its certificate is over, bundle it anew" if is_over else ""

    def describe_check(self) -> str:
        """Return how many of the bundle's own sentences get their numbers again, how many their answer."""
        same = sum(a == b for a, b in self.probed)
        agreed = sum(a["answer"] == b.get("answer") for a, b in self.probed)
        return (
            f"{same} of {len(self.probed)} drafts are the same to the last bit, {agreed} have the same answer"
        )

    def _packages(self) -> str:
        """Return which packages the bundle was made with, of those that are others here."""
        here = {each.__name__: each.__version__ for each in (np, ort, tokenizers)}
        made = [f"{name} {which}" for name, which in self.facts["packages"].items() if here[name] != which]
        return f"; made with {', '.join(made)}: see requirements.txt" if made else ""

    def _try(self, text: str) -> dict[str, Any]:
        """Return the draft, empty if there is no honest answer."""
        try:
            return self.draft(text)
        except ValueError:
            return {}


def read_verified(folder: Path) -> dict[str, Any]:
    """Return the facts in bundle.json; SystemExit naming a file that is not as it was bundled."""
    try:
        facts: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        for name, digest in facts["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise SystemExit(f"{folder / name} is not the file that was bundled")
    except OSError as exc:
        raise SystemExit(f"{exc.filename} cannot be read: {exc.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SystemExit(f"{folder / 'bundle.json'} is not the file that was bundled") from None
    return facts


def hash_text(text: str) -> int:
    """Return the hash that texts are known by, whatever their white space; the gateway's own."""
    plain = " ".join((text if LONG_RUN.search(text) else unicodedata.normalize("NFC", text)).split())
    return int.from_bytes(
        hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )


class Reader:
    """What heads and taggers see of a text: tokens, hashed words and word pairs, the encoder's vector."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
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
        if len(text) > self.facts["max_tokens"] * CHARS_PER_TOKEN:
            raise ValueError("input too long")
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
    parser.add_argument(
        "--check",
        action="store_true",
        help="count what is drafted as where it was made; exit 1 if the certificate does not hold here",
    )
    options = parser.parse_args()
    # A byte that is no UTF-8 makes its own text unreadable, not those after it.
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    specialist = Specialist(Path(__file__).resolve().parent)
    if options.check:
        _say(specialist.describe_check())
    if obstacle := specialist.find_obstacle():
        sys.stderr.write(f"nothing is served: {obstacle}\n")
    if options.check:
        sys.exit(0 if specialist.is_certified_here() else 1)
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
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader has gone (`| head`)
        sys.stderr.close()
        sys.exit(1)
