from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from gateway.errors import RegistryError
from gateway.specialists.encoders import minilm, onnx_folder
from gateway.specialists.onnx_encoder import OnnxEncoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """MiniLM as an exported folder, its tokenizer truncates and pads as the hub's file does."""
    spec = find_spec(minilm.PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.onnx").symlink_to(Path(spec.submodule_search_locations[0]) / "model.onnx")
    tokenizer = minilm.build_tokenizer()
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_an_exported_folder_encodes_as_its_model_does(folder: Path) -> None:
    encoder = OnnxEncoder("packaged", folder / "model.onnx", minilm.build_tokenizer(), 256)
    text = "a text of more than eight tokens must not be cut by the tokenizer file"

    exported = onnx_folder.create(onnx_folder.Config(str(folder)))

    assert exported.encode(text).tobytes() == encoder.encode(text).tobytes()


def test_the_name_follows_the_content(folder: Path) -> None:
    first = onnx_folder.create(onnx_folder.Config(str(folder)))
    minilm.build_tokenizer().save(str(folder / "tokenizer.json"))
    second = onnx_folder.create(onnx_folder.Config(str(folder)))

    assert first.name.startswith("mine@")
    assert first.name != second.name


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(RegistryError, match=name):
        onnx_folder.create(onnx_folder.Config(str(folder)))


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_damaged_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).write_bytes(b"garbage")

    with pytest.raises(RegistryError, match=name):
        onnx_folder.create(onnx_folder.Config(str(folder)))
