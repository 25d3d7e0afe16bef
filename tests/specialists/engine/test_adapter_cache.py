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
    """An adapter file that a test may delete."""
    return Path(shutil.copy(adapter, tmp_path))


def test_an_adapter_stays_loaded_within_the_memory_limit(
    model: Any, copied: Path, other_adapter: Path
) -> None:
    """It is used without its file."""
    cache = AdapterCache(model, memory_mb=64)
    cache.load(str(copied))
    cache.load(str(other_adapter))
    copied.unlink()
    assert cache.load(str(copied))[1] == str(copied)


def test_the_least_recently_used_adapter_is_unloaded_for_a_new_one(
    model: Any, copied: Path, other_adapter: Path
) -> None:
    """It is read from its file again."""
    cache = AdapterCache(model, memory_mb=0)
    cache.load(str(copied))
    cache.load(str(other_adapter))
    copied.unlink()
    with pytest.raises(FileNotFoundError):
        cache.load(str(copied))
