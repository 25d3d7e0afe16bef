from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.distill.base import TrainingSet, Workspace
from gateway.distill.engine_change import describe_other_model
from gateway.distill.recipes import hosted
from gateway.errors import TrainingError
from gateway.registry.manifest import Manifest
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.remote.config import EngineConfig
from gateway.specialists.remote.pool import RemoteEngines
from gateway.specialists.runtimes import openai
from gateway.specialists.shared_resources import SharedResources
from tests.specialists.hosting import FlatEncoder
from tests.support.model_server import model_server, stop_server

LESSONS = TrainingSet(["a", "b", "c", "d", "e"], ["yes", "no", "yes", "yes", "maybe"])


def test_the_shots_show_every_answer_before_one_twice() -> None:
    assert hosted.choose_shots(LESSONS, 4) == [("d", "yes"), ("e", "maybe"), ("b", "no"), ("c", "yes")]
    assert hosted.choose_shots(LESSONS, 0) == []
    assert len(hosted.choose_shots(LESSONS, 99)) == 5


def test_without_an_engine_the_recipe_is_left_out() -> None:
    assert not hosted.create(hosted.Config()).can_learn(LESSONS)


def test_a_version_names_the_model_it_was_made_with_and_counts_as_long_as_that_runs(tmp_path: Path) -> None:
    with model_server(lambda _: "yes") as server:
        config = EngineConfig(urls=(server.url,), model="small", check_every_s=0.001)
        engines = RemoteEngines({"pool": config})
        resources = SharedResources(FlatEncoder(), EnginePool(tmp_path, 64), engines)
        workspace = Workspace(folder=tmp_path / "bench", seed=0, resources=resources)
        recipe = hosted.create(hosted.Config(engine="pool", shots=2, instruction="Be short."))
        folder = tmp_path / "version"
        folder.mkdir()

        result = recipe.validate(LESSONS, LESSONS, workspace)
        report = recipe.train(LESSONS, folder, workspace)

        manifest = Manifest(
            task="t",
            version=1,
            runtime="openai",
            encoder="e",
            created_at=0,
            recipe="hosted",
            seed=0,
            rows=5,
            answers=3,
        )
        assert result.losses == [0.0, 1.0, 0.0, 0.0, 1.0]
        assert report.served_model == "pool: small (1.0, /m/small)"
        assert [message["role"] for message in openai.read_card(folder).opening][:3] == [
            "system",
            "user",
            "assistant",
        ]
        assert describe_other_model(manifest, folder, engines) == ""
        server.script.version = "2.0"
        time.sleep(0.002)
        assert "version of 'small' is" in describe_other_model(manifest, folder, engines)
        stop_server(server)
        time.sleep(0.002)
        # Nothing is known of a server that is away.
        assert describe_other_model(manifest, folder, engines) == ""
        with pytest.raises(TrainingError, match="the engine 'pool' does not answer"):
            recipe.train(LESSONS, folder, workspace)
        engines.close()
