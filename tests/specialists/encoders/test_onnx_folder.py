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


def split_weights(folder: Path) -> Path:
    model = folder / "model.onnx"
    (folder / "weigh.onnx").write_bytes(model.read_bytes())
    model.unlink()
    graph = minilm.GRAPH.read_bytes().replace(b"location\x12\nmodel.onnx", b"location\x12\nweigh.onnx")
    model.write_bytes(graph)
    return folder


@pytest.fixture
def split(folder: Path) -> Path:
    """The int8 encoder that ships, as an export with its weights in a file beside the graph."""
    return split_weights(folder)


def test_weights_beside_the_graph_are_part_of_the_name(split: Path) -> None:
    """Other weights are another encoder: what was certified with these must not serve with those."""
    first = onnx_folder.create(onnx_folder.Config(str(split)))
    weights = bytearray((split / "weigh.onnx").read_bytes())
    weights[-1] ^= 1
    (split / "weigh.onnx").unlink()
    (split / "weigh.onnx").write_bytes(weights)
    second = onnx_folder.create(onnx_folder.Config(str(split)))

    assert first.encode("hello").tobytes() == minilm.create().encode("hello").tobytes()
    assert first.name != second.name


def test_weights_beside_the_graph_go_where_the_encoder_goes(split: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    onnx_folder.create(onnx_folder.Config(str(split))).write_files(tmp_path / "bundle")

    assert (tmp_path / "bundle" / "weigh.onnx").read_bytes() == (split / "weigh.onnx").read_bytes()


def test_weights_that_are_missing_are_named(split: Path) -> None:
    (split / "weigh.onnx").unlink()

    with pytest.raises(RegistryError, match=r"weigh\.onnx"):
        onnx_folder.create(onnx_folder.Config(str(split)))


def test_weights_outside_the_folder_are_refused(split: Path) -> None:
    graph = (split / "model.onnx").read_bytes()
    (split / "model.onnx").write_bytes(graph.replace(b"weigh.onnx", b"../../aaaa"))

    with pytest.raises(RegistryError, match="export them to one file"):
        onnx_folder.create(onnx_folder.Config(str(split)))


def test_the_name_holds_the_int8_kernel_where_numbers_depend_on_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name_on(kernel: str) -> str:
        monkeypatch.setattr(onnx_folder, "find_int8_kernel", lambda: kernel)
        return onnx_folder.create(onnx_folder.Config(str(folder))).name

    assert name_on("avx2") == name_on("neon")
    split_weights(folder)
    one, other = name_on("avx2").split("-avx2-ort"), name_on("").split("-inexact-ort")
    assert one == other
