from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.specialists.engine.adapter_cache import AdapterCache

pytestmark = pytest.mark.learn


@pytest.fixture(scope="module")
def model(base: Path) -> Any:
    import onnxruntime_genai as og

    return og.Model(str(base))


@pytest.fixture
def copied(adapter: Path, tmp_path: Path) -> Path:
    """An adapter file which a test may take away."""
    return Path(shutil.copy(adapter, tmp_path))


def test_an_adapter_stays_while_there_is_room(model: Any, copied: Path, other_adapter: Path) -> None:
    """It is served without its file."""
    shelf = AdapterCache(model, memory_mb=64)
    shelf.take(str(copied))
    shelf.take(str(other_adapter))
    copied.unlink()
    assert shelf.take(str(copied))[1] == str(copied)


def test_the_least_used_adapter_makes_room(model: Any, copied: Path, other_adapter: Path) -> None:
    """It is read from its file again."""
    shelf = AdapterCache(model, memory_mb=0)
    shelf.take(str(copied))
    shelf.take(str(other_adapter))
    copied.unlink()
    with pytest.raises(FileNotFoundError):
        shelf.take(str(copied))
