"""What every OpenAI-compatible server must give the runtime `openai`; each is a real process or socket."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gateway.core import DraftRequest
from gateway.errors import SpecialistError
from gateway.specialists import knn
from gateway.specialists.base import NullListener, Prediction
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.remote.config import EngineConfig
from gateway.specialists.remote.pool import RemoteEngines
from gateway.specialists.runtimes import openai
from gateway.specialists.shared_resources import SharedResources
from tests.specialists.hosting import FlatEncoder, drafted
from tests.support.llamacpp import llamacpp_server
from tests.support.model_server import model_server
from tests.support.processes import gateway_process

TEXT = "Say hello to the world."


@contextmanager
def scripted(_: Path) -> Iterator[str]:
    with model_server(lambda _: "hello to the whole wide world") as server:
        yield server.url


@contextmanager
def another_stepdown(folder: Path) -> Iterator[str]:
    with (
        scripted(folder) as url,
        gateway_process(
            folder / "home",
            "--open",
            OPENAI_BASE_URL=url,
            OPENAI_API_KEY="sk-any",
            STEPDOWN_LEARN_ENABLED="false",
            STEPDOWN_HARVEST_ENABLED="false",
        ) as gateway,
    ):
        yield gateway.base_url


@contextmanager
def llamacpp(_: Path) -> Iterator[str]:
    with llamacpp_server() as url:
        yield url


@pytest.fixture(scope="module", params=[scripted, another_stepdown, llamacpp], ids=lambda each: each.__name__)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with request.param(tmp_path_factory.mktemp("engine")) as url:
        yield url


@pytest.fixture(scope="module")
def engines(url: str) -> Iterator[RemoteEngines]:
    config = EngineConfig(urls=(url,), model="small", timeout_s=15.0)
    engines = RemoteEngines(
        {"tested": config, "hasty": EngineConfig(urls=(url,), model="small", timeout_s=0.001)}
    )
    yield engines
    engines.close()


@pytest.fixture
def card(engines: RemoteEngines) -> openai.Card:
    return openai.Card(engine="tested", identity=engines.identify("tested"), max_new_tokens=6)


def open_card(card: openai.Card, engines: RemoteEngines, folder: Path) -> openai.OpenaiRuntime:
    openai.write_card(card, folder)
    knn.write_neighbors(np.full((1, 4), 0.5, np.float32), folder)
    return openai.create(folder, SharedResources(FlatEncoder(), EnginePool(folder, 64), engines))


@pytest.fixture
def runtime(card: openai.Card, engines: RemoteEngines, tmp_path: Path) -> openai.OpenaiRuntime:
    return open_card(card, engines, tmp_path)


class Streamed(NullListener):
    """A Listener that keeps the text it hears."""

    def __init__(self) -> None:
        self.text = ""

    def on_opening(self, prediction: Prediction) -> None:
        self.text = prediction.text

    def on_piece(self, text: str) -> None:
        assert self.text, "the opening comes first"
        self.text += text


def test_a_draft_is_measured_token_by_token(runtime: openai.OpenaiRuntime) -> None:
    prediction = drafted(runtime, TEXT)

    assert prediction.text
    assert 0.0 < prediction.score <= 1.0
    assert prediction.trace is not None
    assert 1 <= len(prediction.trace.logprobs) <= 6
    assert prediction.score == pytest.approx(math.exp(min(prediction.trace.logprobs)))
    assert all(logprob <= 0.0 for logprob in prediction.trace.logprobs)
    assert all(margin >= 0.0 for margin in prediction.trace.margins), "the likeliest token is taken"
    assert all(entropy >= 0.0 for entropy in prediction.trace.entropies)
    assert prediction.prompt_tokens > 0


def test_the_same_text_gets_the_same_draft(runtime: openai.OpenaiRuntime) -> None:
    first, second = drafted(runtime, TEXT), drafted(runtime, TEXT)

    assert first.text == second.text
    assert first.score == pytest.approx(second.score, abs=0.02)


def test_the_tokens_that_a_client_asks_for_are_those_of_the_text(runtime: openai.OpenaiRuntime) -> None:
    prediction = runtime.draft(DraftRequest(text=TEXT, top_logprobs=2), NullListener())

    assert "".join(token.text for token in prediction.tokens) == prediction.text
    assert all(len(token.top) == 2 for token in prediction.tokens)


def test_a_limit_of_tokens_is_kept_and_said(runtime: openai.OpenaiRuntime) -> None:
    prediction = runtime.draft(DraftRequest(text=TEXT, max_tokens=2), NullListener())

    assert prediction.completion_tokens == 2
    assert prediction.finish_reason == "length"


def test_a_streamed_draft_is_scored_by_its_opening(
    card: openai.Card, engines: RemoteEngines, tmp_path: Path
) -> None:
    listener = Streamed()

    whole = open_card(msgspec.structs.replace(card, hold_back=2), engines, tmp_path).draft(
        DraftRequest(text=TEXT, is_streamed=True), listener
    )

    assert listener.text == whole.text
    assert whole.trace is not None
    assert len(whole.trace.logprobs) == 2


def test_an_unknown_model_is_not_drafted_with(url: str, card: openai.Card, tmp_path: Path) -> None:
    engines = RemoteEngines({"tested": EngineConfig(urls=(url,), model="another", probe=False)})
    try:
        with pytest.raises(SpecialistError) as caught:
            drafted(open_card(card, engines, tmp_path), TEXT)
    finally:
        engines.close()

    assert caught.value.reason == "model changed"


def test_the_model_is_the_same_at_the_next_look(engines: RemoteEngines, card: openai.Card) -> None:
    assert openai.describe_change(card, engines) == ""
    assert "small" in str(card.identity)


def test_a_draft_never_outlasts_its_time(card: openai.Card, engines: RemoteEngines, tmp_path: Path) -> None:
    hasty = msgspec.structs.replace(card, engine="hasty")

    with pytest.raises(SpecialistError, match="late"):
        drafted(open_card(hasty, engines, tmp_path), TEXT)
