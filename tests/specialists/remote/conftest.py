from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gateway.specialists import knn
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.remote.config import EngineConfig
from gateway.specialists.remote.pool import RemoteEngines
from gateway.specialists.runtimes import openai
from gateway.specialists.shared_resources import SharedResources
from tests.specialists.hosting import FlatEncoder
from tests.support.model_server import ModelServer, model_server

Open = Callable[..., openai.OpenaiRuntime]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server(lambda text: f"echo {text}") as running:
        yield running


@pytest.fixture
def other() -> Iterator[ModelServer]:
    """A replica of `server`."""
    with model_server(lambda text: f"echo {text}") as running:
        yield running


@pytest.fixture
def open_runtime(tmp_path: Path) -> Iterator[Open]:
    """Return a function from servers to a runtime that was validated on the first of them."""
    opened: list[RemoteEngines] = []

    def open_on(*servers: ModelServer, files: Path | None = None, **settings: object) -> openai.OpenaiRuntime:
        fields = {"check_every_s": 60.0, **settings}
        card_fields = {name: fields.pop(name) for name in ("hold_back", "max_new_tokens") if name in fields}
        config = EngineConfig(urls=tuple(one.url for one in servers), model="small", **fields)  # type: ignore[arg-type]
        engines = RemoteEngines({"pool": config})
        opened.append(engines)
        folder = files or tmp_path
        card = openai.Card(
            engine="pool",
            identity=engines.identify("pool"),
            has_adapter=files is not None,
            **({"max_new_tokens": 32} | card_fields),  # type: ignore[arg-type]
        )
        openai.write_card(card, folder)
        knn.write_neighbors(np.full((1, 4), 0.5, np.float32), folder)
        resources = SharedResources(FlatEncoder(), EnginePool(tmp_path, 64), engines)
        return openai.create(folder, resources)

    yield open_on
    for engines in opened:
        engines.close()
