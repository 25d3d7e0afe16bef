"""The ways to quantize a checkpoint, and the choice of the most faithful result by measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gateway.errors import TrainingError

RECIPES: dict[str, tuple[str, ...]] = {
    "int4": (),
    "k_quant_head8": ("algo_config=k_quant", "matmul_mixed_precision=last_matmul:int8"),
    "k_quant_mixed8": ("algo_config=k_quant", "matmul_mixed_precision=last_matmul:int8,mixed_layers:int8"),
}
"""Options of the builder by the name of the outcome: plain rounding; k-quant with an int8 head;
the same with int8 also in the layers that llama.cpp found to be sensitive. Blocks are 32 wide:
asymmetric ones of 16 build but do not load (onnxruntime-genai 0.18)."""


class Fidelity(msgspec.Struct, frozen=True):
    """How near a quantized model is to its checkpoint.

    `agreement` is the share of tokens for which both expect the same next token, `divergence` the
    mean Kullback-Leibler divergence from the checkpoint's distribution in nats.
    """

    agreement: float
    divergence: float


def build_quantized(checkpoint: Path, recipe: str, folder: Path) -> None:
    """Write the model quantized by `recipe` into `folder`. Seconds; 1.8 GB for 135 M parameters.

    Raises TrainingError with the last line of the builder's output.
    """
    arguments = ["-i", str(checkpoint), "-o", str(folder), "-p", "int4", "-e", "cpu", "-c", f"{folder}-cache"]
    options = RECIPES[recipe]
    if options:
        arguments += ["--extra_options", *options]
    # A separate process: it prints, holds the GIL for seconds, and gives its memory back at its end.
    done = subprocess.run(
        [sys.executable, "-m", "onnxruntime_genai.models.builder", *arguments],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stdout.strip().rpartition("\n")[2]
        raise TrainingError(f"onnxruntime-genai's builder failed ({recipe}): {last}")


def pick_best(measured: Mapping[str, Fidelity]) -> str:
    """Return the recipe with the least divergence.

    Divergence compares the whole distribution for every token, so it tells recipes apart on texts
    that are far too few for a count of agreements.
    """
    return min(measured, key=lambda recipe: measured[recipe].divergence)
