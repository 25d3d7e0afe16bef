from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from gateway.core import DraftRequest
from gateway.errors import SpecialistError
from gateway.specialists.base import NullListener, Prediction
from gateway.specialists.engine.client import EngineClient
from tests.specialists.engine.listeners import CancelledListener, RecordingListener
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.learn

TEXTS = ["lost card", "where is my order number one two three four", "refund", "please refund the order"] * 3
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["card", "order"]}, "urgent": {"type": "boolean"}},
    "required": ["kind", "urgent"],
    "additionalProperties": False,
}


def predict(
    engine: EngineClient, adapter: Path | None, text: str = "lost card", **more: object
) -> Prediction:
    """Return the prediction of at most 12 tokens."""
    draft_request = DraftRequest(text=text, **more)  # type: ignore[arg-type]
    return engine.draft(adapter, draft_request, NullListener(), max_new_tokens=12, hold_back=None)


def response_format(schema: object) -> bytes:
    """Return the request's field that prescribes `schema`."""
    return msgspec.json.encode({"type": "json_schema", "json_schema": {"name": "it", "schema": schema}})


def test_requests_together_get_what_each_gets_alone(engine: EngineClient, adapter: Path) -> None:
    """Rows of unlike lengths share a batch, and none sees another's text."""
    alone = [predict(engine, adapter, text) for text in TEXTS]

    with ThreadPoolExecutor(len(TEXTS)) as pool:
        together = list(pool.map(lambda text: predict(engine, adapter, text), TEXTS))

    assert [draft.text for draft in together] == [draft.text for draft in alone]
    assert [draft.score for draft in together] == pytest.approx([draft.score for draft in alone], rel=1e-4)


def test_every_request_is_answered_by_its_own_adapter(
    engine: EngineClient, adapter: Path, other_adapter: Path
) -> None:
    adapters = [adapter, other_adapter, None]
    alone = [predict(engine, one).trace for one in adapters]
    assert len(set(alone)) == 3

    with ThreadPoolExecutor(9) as pool:
        together = list(pool.map(lambda one: predict(engine, one).trace, adapters * 3))

    for got, wanted in zip(together, alone * 3, strict=True):
        assert got is not None
        assert wanted is not None
        assert got.logprobs == pytest.approx(wanted.logprobs, abs=1e-3)


def test_a_draft_says_how_sure_each_token_was(engine: EngineClient, adapter: Path) -> None:
    draft = predict(engine, adapter, top_logprobs=3)

    assert draft.trace is not None
    assert len(draft.trace.logprobs) == len(draft.trace.margins) == len(draft.trace.entropies)
    assert min(draft.trace.margins) >= 0
    assert len(draft.tokens) == draft.completion_tokens > 0
    for token in draft.tokens:
        (name, logprob), *_ = token.top
        assert name == token.text
        assert logprob == pytest.approx(token.logprob, abs=1e-4)
        assert [logprob for _, logprob in token.top] == sorted((p for _, p in token.top), reverse=True)


def test_an_answer_ends_at_its_limit(engine: EngineClient, adapter: Path) -> None:
    draft = predict(engine, adapter, max_tokens=3)
    assert (draft.completion_tokens, draft.finish_reason) == (3, "length")


def test_an_answer_ends_before_a_stop_string(engine: EngineClient, adapter: Path) -> None:
    whole = predict(engine, adapter).text
    stop = whole[len(whole) // 2 :][:2]

    draft = predict(engine, adapter, stop=("never", stop))

    assert (draft.text, draft.finish_reason) == (whole[: whole.index(stop)], "stop")


@pytest.mark.parametrize("text", TEXTS[:3])
def test_a_prescribed_schema_is_kept(engine: EngineClient, adapter: Path, text: str) -> None:
    draft_request = DraftRequest(text=text, response_format=response_format(SCHEMA))
    answer = json.loads(
        engine.draft(adapter, draft_request, NullListener(), max_new_tokens=120, hold_back=None).text
    )
    assert answer["kind"] in {"card", "order"}
    assert isinstance(answer["urgent"], bool)


@pytest.mark.parametrize("schema", [True, {"type": "object", "not": {"type": "string"}}])
def test_a_schema_that_cannot_be_kept_is_refused(engine: EngineClient, adapter: Path, schema: object) -> None:
    with pytest.raises(SpecialistError, match="schema not supported"):
        predict(engine, adapter, response_format=response_format(schema))


def test_an_input_that_leaves_no_tokens_for_an_answer_is_refused(engine: EngineClient, adapter: Path) -> None:
    with pytest.raises(SpecialistError, match="input too long"):
        predict(engine, adapter, "where is my card " * 200)


def test_an_input_that_is_not_unicode_is_refused(engine: EngineClient, adapter: Path) -> None:
    with pytest.raises(SpecialistError, match="input unreadable"):
        predict(engine, adapter, "\ud800")


def test_a_cancelled_draft_is_not_written_to_its_end(engine: EngineClient, adapter: Path) -> None:
    """The engine goes on to the next one."""
    with pytest.raises(SpecialistError, match="cancelled"):
        engine.draft(
            adapter, DraftRequest(text="lost card"), CancelledListener(), max_new_tokens=200, hold_back=None
        )
    assert predict(engine, adapter).completion_tokens


def test_a_missing_adapter_fails_its_own_requests_only(
    engine: EngineClient, adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecialistError, match="specialist failed"):
        predict(engine, tmp_path / "none.onnx_adapter")
    assert predict(engine, adapter).completion_tokens


def test_an_unloaded_adapter_is_loaded_again(engine: EngineClient, adapter: Path) -> None:
    before = predict(engine, adapter)
    engine.unload_adapter(adapter)
    assert predict(engine, adapter).text == before.text


def test_a_stream_is_decided_on_its_beginning(engine: EngineClient, adapter: Path) -> None:
    """Opening and pieces are the whole answer, and an answer that is not streamed has the same score."""
    listener = RecordingListener()
    draft_request = DraftRequest(text="lost card", is_streamed=True, stop=("never",))

    streamed = engine.draft(adapter, draft_request, listener, max_new_tokens=24, hold_back=4)
    whole = engine.draft(
        adapter, DraftRequest(text="lost card"), NullListener(), max_new_tokens=24, hold_back=4
    )

    (opening,) = listener.openings
    assert len(listener.pieces) > 1
    assert opening.text + "".join(listener.pieces) == streamed.text == whole.text
    assert opening.score == streamed.score == pytest.approx(whole.score)
    assert opening.trace is not None
    assert len(opening.trace.logprobs) == 4


def test_a_dying_engine_refuses_its_drafts_and_pauses_before_it_starts_again(
    own_engine: EngineClient, adapter: Path
) -> None:
    """The pause of `own_engine` outlasts the test."""
    predict(own_engine, adapter)
    assert own_engine.pid is not None
    os.kill(own_engine.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(predict, own_engine, adapter)
        os.kill(own_engine.pid, signal.SIGKILL)
        with pytest.raises(SpecialistError, match="specialist failed"):
            waiting.result(PATIENCE_S)
    with pytest.raises(SpecialistError, match="specialist failed"):
        predict(own_engine, adapter)
    assert own_engine.pid is None


def test_an_engine_too_big_for_its_memory_refuses(base: Path, adapter: Path) -> None:
    engine = EngineClient(base, 8)
    try:
        with pytest.raises(SpecialistError):
            predict(engine, adapter)
    finally:
        engine.close()
