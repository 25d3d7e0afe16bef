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
from tests.specialists.engine.listeners import Leaver, Recorder

pytestmark = pytest.mark.learn

TEXTS = ["lost card", "where is my order number one two three four", "refund", "please refund the order"] * 3
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["card", "order"]}, "urgent": {"type": "boolean"}},
    "required": ["kind", "urgent"],
    "additionalProperties": False,
}


def ask(engine: EngineClient, adapter: Path | None, text: str = "lost card", **more: object) -> Prediction:
    """Return the draft of at most 12 tokens."""
    draft_request = DraftRequest(text=text, **more)  # type: ignore[arg-type]
    return engine.draft(adapter, draft_request, NullListener(), most=12, hold_back=None)


def formatted(schema: object) -> bytes:
    """Return the request's field which demands `schema`."""
    return msgspec.json.encode({"type": "json_schema", "json_schema": {"name": "it", "schema": schema}})


def test_requests_together_get_what_each_gets_alone(engine: EngineClient, adapter: Path) -> None:
    """Rows of unlike lengths share a batch, and none sees another's text."""
    alone = [ask(engine, adapter, text) for text in TEXTS]

    with ThreadPoolExecutor(len(TEXTS)) as pool:
        together = list(pool.map(lambda text: ask(engine, adapter, text), TEXTS))

    assert [draft.text for draft in together] == [draft.text for draft in alone]
    assert [draft.score for draft in together] == pytest.approx([draft.score for draft in alone], rel=1e-4)


def test_every_request_is_answered_by_its_own_adapter(
    engine: EngineClient, adapter: Path, other_adapter: Path
) -> None:
    adapters = [adapter, other_adapter, None]
    alone = [ask(engine, one).trace for one in adapters]
    assert len(set(alone)) == 3

    with ThreadPoolExecutor(9) as pool:
        together = list(pool.map(lambda one: ask(engine, one).trace, adapters * 3))

    for got, wanted in zip(together, alone * 3, strict=True):
        assert got is not None
        assert wanted is not None
        assert got.logprobs == pytest.approx(wanted.logprobs, abs=1e-3)


def test_a_draft_tells_how_sure_each_token_was(engine: EngineClient, adapter: Path) -> None:
    draft = ask(engine, adapter, top_logprobs=3)

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
    draft = ask(engine, adapter, max_tokens=3)
    assert (draft.completion_tokens, draft.finish_reason) == (3, "length")


def test_an_answer_ends_before_a_stop_string(engine: EngineClient, adapter: Path) -> None:
    whole = ask(engine, adapter).text
    stop = whole[len(whole) // 2 :][:2]

    draft = ask(engine, adapter, stop=("never", stop))

    assert (draft.text, draft.finish_reason) == (whole[: whole.index(stop)], "stop")


@pytest.mark.parametrize("text", TEXTS[:3])
def test_a_prescribed_form_is_kept(engine: EngineClient, adapter: Path, text: str) -> None:
    draft_request = DraftRequest(text=text, response_format=formatted(SCHEMA))
    answer = json.loads(engine.draft(adapter, draft_request, NullListener(), most=120, hold_back=None).text)
    assert answer["kind"] in {"card", "order"}
    assert isinstance(answer["urgent"], bool)


@pytest.mark.parametrize("schema", [True, {"type": "object", "not": {"type": "string"}}])
def test_a_schema_which_cannot_be_kept_is_refused(
    engine: EngineClient, adapter: Path, schema: object
) -> None:
    with pytest.raises(SpecialistError, match="schema not supported"):
        ask(engine, adapter, response_format=formatted(schema))


def test_an_input_which_leaves_no_room_for_an_answer_is_refused(engine: EngineClient, adapter: Path) -> None:
    with pytest.raises(SpecialistError, match="input too long"):
        ask(engine, adapter, "where is my card " * 200)


def test_an_input_which_is_no_unicode_is_refused(engine: EngineClient, adapter: Path) -> None:
    with pytest.raises(SpecialistError, match="input unreadable"):
        ask(engine, adapter, "\ud800")


def test_who_has_left_is_not_waited_for(engine: EngineClient, adapter: Path) -> None:
    """And the engine goes on to the next."""
    with pytest.raises(SpecialistError, match="cancelled"):
        engine.draft(adapter, DraftRequest(text="lost card"), Leaver(), most=200, hold_back=None)
    assert ask(engine, adapter).completion_tokens


def test_a_missing_adapter_fails_its_own_requests_only(
    engine: EngineClient, adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecialistError, match="specialist failed"):
        ask(engine, tmp_path / "none.onnx_adapter")
    assert ask(engine, adapter).completion_tokens


def test_a_forgotten_adapter_is_loaded_anew(engine: EngineClient, adapter: Path) -> None:
    before = ask(engine, adapter)
    engine.forget(adapter)
    assert ask(engine, adapter).text == before.text


def test_a_stream_is_decided_on_its_beginning(engine: EngineClient, adapter: Path) -> None:
    """What is heard is the whole answer, and the score is the same for those who do not listen."""
    ear = Recorder()
    draft_request = DraftRequest(text="lost card", is_streamed=True, stop=("never",))

    streamed = engine.draft(adapter, draft_request, ear, most=24, hold_back=4)
    silent = engine.draft(adapter, DraftRequest(text="lost card"), NullListener(), most=24, hold_back=4)

    (opening,) = ear.openings
    assert len(ear.pieces) > 1
    assert opening.text + "".join(ear.pieces) == streamed.text == silent.text
    assert opening.score == streamed.score == pytest.approx(silent.score)
    assert opening.trace is not None
    assert len(opening.trace.logprobs) == 4


def test_a_dying_engine_refuses_who_waits_and_rests_before_it_starts_again(
    own_engine: EngineClient, adapter: Path
) -> None:
    ask(own_engine, adapter)
    assert own_engine.pid is not None
    os.kill(own_engine.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, own_engine, adapter)
        os.kill(own_engine.pid, signal.SIGKILL)
        with pytest.raises(SpecialistError, match="specialist failed"):
            waiting.result(10)
    with pytest.raises(SpecialistError, match="specialist failed"):
        ask(own_engine, adapter)
    assert own_engine.pid is None


def test_an_engine_too_big_for_its_memory_refuses(base: Path, adapter: Path) -> None:
    engine = EngineClient(base, 8)
    try:
        with pytest.raises(SpecialistError):
            ask(engine, adapter)
    finally:
        engine.close()
