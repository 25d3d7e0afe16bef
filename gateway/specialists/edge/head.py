"""How a head drafts in a bundle; run.py imports it there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def create(folder: Path, facts: dict[str, Any], reader: Any) -> Head:
    """Return the head in `folder`."""
    return Head(folder, facts["words"], reader)


class Head:
    """A classifier over a text's vector and hashed n-grams, perhaps behind one over words alone."""

    def __init__(self, folder: Path, words: dict[str, Any] | None, reader: Any) -> None:
        self.reader = reader
        self.words = words
        self.answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
        with np.load(folder / "head.npz") as head:
            self.coefficients, self.intercept = head["coefficients"], head["intercept"]
        with np.load(folder / "familiarity.npz") as arrays:
            self.form, self.slopes, self.offsets = (arrays[name] for name in ("form", "slopes", "offsets"))
        self.first: dict[str, Any] = {}
        if words:
            for name in ("first_stage.npz", "words.npz"):
                with np.load(folder / name) as arrays:
                    self.first |= dict(arrays)
            place = (words["offset"], tuple(words["shape"]))
            self.table = np.asarray(np.memmap(folder / words["file"], np.int8, "r", *place))

    def draft(self, text: str) -> dict[str, Any]:
        """Return answer, score and evidence for `text`; ValueError if it is empty or too long.

        A draft of the first stage, from words alone, has no similarity.
        """
        ids, codes = self.reader.tokenize(text), self.reader.hash_ngrams(text)
        if self.words and (sure := self._draft_first(ids, codes, self.words)):
            return sure
        vector = self.reader.encode(ids)
        draft = self._choose(self.reader.weigh(vector), codes, self.coefficients, self.intercept)
        return {**draft, "similarity": self._rate(vector, self.answers.index(draft["answer"]))}

    def _rate(self, vector: Any, answer: int) -> float:
        """Return how familiar a text that was given this answer is, between -1 and 1."""
        distance = vector @ (self.form @ vector + self.slopes[answer]) + self.offsets[answer]
        mean = -float(distance) / len(vector)
        return mean / (1.0 + abs(mean))

    def _draft_first(self, ids: list[int], codes: list[int], words: dict[str, Any]) -> dict[str, Any] | None:
        """Return the draft of the first stage, None if the encoder must look at the text."""
        one = self.first
        bits = 8 * len(one["known"])
        places = [code % bits for code in codes]
        known = sum(int(one["known"][place >> 3]) >> (place & 7) & 1 for place in places)
        least_margin, least_known = one["limits"].tolist()
        if (known / len(codes) if codes else 0.0) < least_known:
            return None
        total = one["weights"][ids] @ self.table[ids].astype(np.float32)
        total -= one["rarity"][ids].sum() * one["center"]
        vector = total / (np.sqrt(total @ total) or np.float32(1)) * np.float32(words["weight"])
        draft = self._choose(vector, codes, one["coefficients"], one["intercept"])
        if draft["score"] < least_margin:
            return None
        score = float(np.interp(draft["score"], one["margins"], one["scores"]))
        return {**draft, "score": score, "similarity": None}

    def _choose(self, dense: Any, codes: list[int], coefficients: Any, intercept: Any) -> dict[str, Any]:
        """Return the best answer; its margin is its score."""
        logits = self.reader.judge(dense, codes, coefficients, intercept).astype(np.float64)
        powers = np.exp(logits - logits.max())
        probabilities = powers / powers.sum()
        second, first = np.partition(probabilities, -2)[-2:]
        answer = self.answers[int(probabilities.argmax())]
        return {"answer": answer, "score": float(first - second), "probability": float(first)}
