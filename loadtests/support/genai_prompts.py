"""What load tests ask small decoders: prompts and answers of fixed lengths, adapters of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gateway.specialists.engine.prompt import Prompter

PROMPT_TOKENS, ANSWER_TOKENS = 64, 32
STORY = "Tell me a long story of a fox who went to sea, of whom she met there and of what they said "


def make_input(prompter: Prompter) -> str:
    """Return a text whose prompt has PROMPT_TOKENS."""
    words = (STORY * 5).split()
    for count in range(len(words)):
        text = " ".join(words[:count])
        if len(prompter.encode_prompt(text)) >= PROMPT_TOKENS:
            return text
    raise AssertionError("the story is too short")


def write_adapter(base: Path, path: Path, seed: int) -> Path:
    """Write weak random weights for all adapter inputs of the base in the folder `base`."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(base / "model.onnx"), options, providers=["CPUExecutionProvider"])
    inputs = [given for given in session.get_overridable_initializers() if ".lora_" in given.name]
    random = np.random.default_rng(seed)
    values = {one.name: 0.003 * random.standard_normal(one.shape, np.float32) for one in inputs}
    adapter = ort.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    adapter.set_parameters({key: ort.OrtValue.ortvalue_from_numpy(value) for key, value in values.items()})
    adapter.export_adapter(str(path))
    return path
