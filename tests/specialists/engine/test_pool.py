from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.errors import RegistryError
from gateway.specialists.engine.pool import EnginePool

pytestmark = pytest.mark.learn


def test_adapters_of_a_base_share_its_engine(engines: EnginePool, digest: str) -> None:
    assert engines.open_engine("tiny", digest) is engines.open_engine("tiny", digest)


def test_an_adapter_of_another_base_is_refused(engines: EnginePool) -> None:
    with pytest.raises(RegistryError, match="another base"):
        engines.open_engine("tiny", "0" * 64)


def test_a_base_that_was_never_pulled_is_refused(engines: EnginePool, digest: str) -> None:
    with pytest.raises(RegistryError, match="stepdown models pull"):
        engines.open_engine("huge", digest)


def test_a_changed_file_is_named_before_anything_is_loaded(models: Path, digest: str, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(models, tmp_path / "models"))
    with (copied / "tiny/1/model.onnx.data").open("r+b") as file:
        file.write(b"other")
    with pytest.raises(RegistryError, match=r"model\.onnx\.data"):
        EnginePool(copied, 1_024).open_engine("tiny", digest)
