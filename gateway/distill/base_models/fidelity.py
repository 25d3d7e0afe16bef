"""The fidelity of quantized models to their checkpoint, on texts like those of narrow tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.distill.base_models.graph import MODEL, FloatArray
from gateway.distill.base_models.quantization import Fidelity
from gateway.specialists.softmax import log_softmax

# Written for this purpose, of the kinds that narrow tasks consist of: prose, JSON, SQL, patterns,
# commands, tables. About 800 tokens. They are data, not prose of ours: another text is another measure.
TEXTS = (
    "Dear team, the parcel which you sent on Monday has arrived, but one of the two lamps in it is broken. "
    "Could you please send a new one, or return the money to my card?",
    "The patient was given 5 mg of warfarin daily. After three weeks she developed a rash on both arms, "
    "and the dose was reduced. No other side effects were seen during the trial.",
    "Gold futures rose on Tuesday as the dollar weakened and investors waited for the central bank's "
    "decision on interest rates later this week.",
    '{"intent": "BookRestaurant", "slots": {"city": "Oslo", "party_size_number": "four", '
    '"restaurant_type": "bistro", "time": "tomorrow at seven"}}',
    '[{"type": "Chemical", "text": "aspirin"}, {"type": "Disease", "text": "stomach ulcer"}]',
    "SELECT c.name, SUM(o.total) AS spent FROM customers c JOIN orders o ON o.customer_id = c.id "
    "WHERE o.placed_at >= '2024-01-01' GROUP BY c.name ORDER BY spent DESC LIMIT 10;",
    "lines which start with a capital letter and end with a digit: ^[A-Z].*[0-9]$",
    r"words of three or more letters, then a comma: \b[A-Za-z]{3,}\b,",
    "def median(values):\n    ordered = sorted(values)\n    middle = len(ordered) // 2\n"
    "    return ordered[middle]\n",
    "find . -name '*.log' -mtime +7 -delete  # remove logs older than a week",
    "play the newest album of Nina Simone on my kitchen speaker, and add the last song to my list "
    "called sunday morning",
    "Question: A shop sells pencils at 4 for one dollar. How much do 20 pencils cost? "
    "Answer: 20 / 4 = 5, so they cost 5 dollars.",
    "name,department,salary\nMiller,Sales,52000\nOkafor,Research,61000\nTanaka,Support,48000\n",
    "Summary: The meeting agreed on three points. First, the release moves to March. Second, the "
    "support team grows by two people. Third, the old interface stays until the end of the year.",
    "Translate to French: Where is the nearest railway station? Où est la gare la plus proche ?",
    "Error 404: the page which you requested was not found. Check the address, or go back to the start.",
)


def measure_fidelity(checkpoint: Path, folders: Mapping[str, Path]) -> dict[str, Fidelity]:
    """Return by name the fidelity of quantized models to the float32 `checkpoint`.

    The models must give logits for every token: measure before `keep_last_logits`.
    """
    import onnxruntime
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    reference = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    size = reference.config.head_dim
    sessions = {
        name: onnxruntime.InferenceSession(str(folder / MODEL), providers=["CPUExecutionProvider"])
        for name, folder in folders.items()
    }
    found: dict[str, list[tuple[FloatArray, FloatArray]]] = {name: [] for name in folders}
    for text in TEXTS:
        tokens = np.array([tokenizer(text).input_ids], np.int64)
        with torch.no_grad():
            expected = log_softmax(reference(torch.from_numpy(tokens)).logits[0].float().numpy())
        for name, session in sessions.items():
            found[name].append(_compare(expected, log_softmax(_run(session, tokens, size))))
    return {name: _average(parts) for name, parts in found.items()}


def _run(session: Any, tokens: npt.NDArray[np.int64], size: int) -> FloatArray:
    """Return the (tokens, vocabulary) logits of one row without a past; heads have `size`."""
    feed: dict[str, Any] = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
    for model_input in session.get_inputs():
        if model_input.name.startswith("past_key_values"):
            feed[model_input.name] = np.zeros((1, model_input.shape[1], 0, size), np.float32)
    logits: FloatArray = session.run(["logits"], feed)[0][0]
    return logits


def _compare(expected: FloatArray, got: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return two (tokens,): 1 where the likeliest next token is the same, and the divergence."""
    same = (expected.argmax(axis=-1) == got.argmax(axis=-1)).astype(np.float32)
    divergence: FloatArray = (np.exp(expected) * (expected - got)).sum(axis=-1)
    return same, divergence


def _average(parts: list[tuple[FloatArray, FloatArray]]) -> Fidelity:
    same, divergence = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Fidelity(float(same.mean()), float(divergence.mean()))
