from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gateway.distill.base_models import pull as module
from gateway.distill.base_models import quantization
from gateway.distill.base_models.dequantize import load_student
from gateway.distill.base_models.pull import pull_base
from gateway.errors import RegistryError, TrainingError
from gateway.registry.models import Registry
from gateway.specialists.engine import base_model

pytestmark = [pytest.mark.learn, pytest.mark.filterwarnings("ignore")]


def quiet(step: str) -> None:
    """Ignore a step."""


def test_the_most_faithful_quantization_of_a_checkpoint_is_published(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of every recipe are kept; one that does not work for this model is left out."""
    recipes = {name: quantization.RECIPES[name] for name in ("int4", "k_quant_mixed8")}
    monkeypatch.setattr(quantization, "RECIPES", recipes | {"impossible": ("algo_config=none",)})
    registry, steps = Registry(tmp_path), list[str]()

    manifest = pull_base(str(checkpoint), "tiny", registry, steps.append)

    _, folder = registry.verify("tiny", 1)
    card = base_model.read_card(folder)
    assert set(manifest.files) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert {"config.json", "base.json", "tokenizer.json", "chat_template.jinja"} < set(manifest.files)
    assert (card.name, card.quantization, card.context) == ("tiny", "k_quant_mixed8", 512)
    assert (card.prompt_prefix, card.prompt_suffix) == (
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
    )
    figures = manifest.metrics
    assert 0 < figures["k_quant_mixed8_divergence"] < figures["int4_divergence"]
    assert figures["int4_agreement"] < figures["k_quant_mixed8_agreement"]
    assert any(step.startswith("impossible is left out") for step in steps)


@pytest.fixture(scope="module")
def registry(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The model that is ONNX already, pulled as "tiny"."""
    registry = Registry(tmp_path_factory.mktemp("models"))
    pull_base(str(ready), "tiny", registry, quiet)
    return registry


def test_a_published_base_generates_like_its_student(registry: Registry) -> None:
    """The runtime's logits, padded on the right, are those of torch on the weights that serve."""
    import onnxruntime_genai as og
    import torch

    rows = [[1, 30, 40, 50], [1, 60, 70, 80, 90, 100]]
    folder = registry.folder("tiny", 1)
    model = og.Model(str(folder))
    options = og.GeneratorParams(model)
    options.set_search_options(max_length=16, batch_size=2)
    generator = og.Generator(model, options)
    padded = [row + [0] * (6 - len(row)) for row in rows]

    generator.append_tokens(np.array(padded, np.int32))
    logits = generator.get_logits()

    assert logits.shape[:2] == (2, 1)
    student = load_student(folder)
    for row, served in zip(rows, logits, strict=True):
        with torch.no_grad():
            trained = student(torch.tensor([row])).logits[0, -1].numpy()
        # The one difference left is the rounding of activations to int8.
        assert np.corrcoef(served[0], trained)[0, 1] > 0.999


def test_a_published_base_is_not_converted_again(registry: Registry, ready: Path) -> None:
    steps: list[str] = []
    manifest = pull_base(str(ready), "tiny", registry, steps.append)
    assert manifest == registry.read("tiny", 1)
    assert steps == [f"fetching {ready}"]


def test_a_name_is_not_given_twice(registry: Registry, checkpoint: Path) -> None:
    """Students of the first would no longer fit."""
    with pytest.raises(RegistryError, match="another --name"):
        pull_base(str(checkpoint), "tiny", registry, quiet)


def test_a_model_without_its_configuration_is_refused(
    registry: Registry, ready: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(ready, tmp_path / "bare", ignore=shutil.ignore_patterns("config.json"))
    with pytest.raises(RegistryError, match=r"config\.json, which training needs"):
        pull_base(str(bare), None, registry, quiet)


def test_a_truncated_model_is_refused_by_name(registry: Registry, ready: Path, tmp_path: Path) -> None:
    cut = Path(shutil.copytree(ready, tmp_path / "cut"))
    (cut / "model.onnx").write_bytes((cut / "model.onnx").read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"cut/model\.onnx is no readable ONNX model"):
        pull_base(str(cut), None, registry, quiet)
    assert registry.tasks() == ["tiny"]


def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"stepdown\[learn\]"):
        pull_base(str(tmp_path), None, Registry(tmp_path), quiet)
