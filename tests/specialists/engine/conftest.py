from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.ipc.backoff import Backoff
from gateway.registry.models import Registry
from gateway.specialists.engine import base_model
from gateway.specialists.engine.client import EngineClient
from gateway.specialists.engine.pool import EnginePool
from tests.specialists.engine.bases import make_models, write_adapter


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bases that holds "tiny", a random one of two layers."""
    return make_models(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def base(models: Path) -> Path:
    return Registry(models).folder("tiny", 1)


@pytest.fixture(scope="session")
def digest(models: Path) -> str:
    return base_model.base_digest(Registry(models).read("tiny", 1))


@pytest.fixture(scope="session")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(base, tmp_path_factory.mktemp("adapter") / "one.onnx_adapter", seed=1)


@pytest.fixture(scope="session")
def other_adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(base, tmp_path_factory.mktemp("adapter") / "two.onnx_adapter", seed=2)


@pytest.fixture(scope="module")
def engine(base: Path) -> Iterator[EngineClient]:
    """An engine that the tests of a module share; a test that breaks its engine uses `own_engine`."""
    engine = EngineClient(base, 1_024)
    yield engine
    engine.close()


@pytest.fixture
def own_engine(base: Path) -> Iterator[EngineClient]:
    """An engine that is not started again within a test."""
    engine = EngineClient(base, 1_024, Backoff(600.0, 600.0))
    yield engine
    engine.close()


@pytest.fixture
def engines(models: Path) -> Iterator[EnginePool]:
    engines = EnginePool(models, 1_024)
    yield engines
    engines.close()
