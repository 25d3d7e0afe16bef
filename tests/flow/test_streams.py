"""A long local answer streams while it is generated, and never turns into another answer."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.specialists.runtimes.scripted import Script
from tests.api.site_server import CHAT, chat_body
from tests.flow.conftest import TEACHER_KEY
from tests.support.processes import RunningGateway
from tests.support.scripted_gateway import scripted_gateway
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for

HOLD_BACK = 3
LONG = " ".join(f"word{number}" for number in range(40))
SCRIPT = Script(
    otherwise=LONG,
    score=0.9,
    hold_back=HOLD_BACK,
    piece_delay_ms=20,
)


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    """A gateway with a certified task "support" and a scripted specialist."""
    with scripted_gateway(
        home, SCRIPT, "--open", OPENAI_BASE_URL=running.base_url, OPENAI_API_KEY=TEACHER_KEY
    ) as gateway:
        yield gateway


def stream(gateway: RunningGateway, text: str, **more: Any) -> Iterator[Any]:
    client = openai.OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=PATIENCE_S)
    chat: Any = client.chat.completions
    yield from chat.create(
        model="stepdown/support", messages=[{"role": "user", "content": text}], stream=True, **more
    )


def test_a_long_local_answer_comes_piece_by_piece_in_openais_shape(gateway: RunningGateway) -> None:
    chunks = list(stream(gateway, "go", stream_options={"include_usage": True}))

    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(delta or "" for delta in deltas) == LONG
    assert len([delta for delta in deltas if delta]) >= 40 - HOLD_BACK
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0


def test_no_client_ever_sees_two_answers(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    """After the first word the teacher is not asked: nothing is retracted."""
    for _ in range(3):
        texts = [chunk.choices[0].delta.content or "" for chunk in stream(gateway, "go") if chunk.choices]
        assert LONG.startswith("".join(texts))

    assert teacher.control.requests == 0


def test_a_host_that_dies_during_an_answer_ends_it_with_an_error_event(gateway: RunningGateway) -> None:
    """The stream does not look complete, and the next request is served again."""
    chunks = stream(gateway, "go")
    next(chunks)
    os.kill(wait_for(lambda: gateway.child("gateway.specialists.host.process"), "no host"), signal.SIGKILL)

    with pytest.raises(openai.APIError, match="broken off"):
        list(chunks)

    wait_for(lambda: gateway.status()["specialists_ready"], "the host does not come back")
    assert "".join(c.choices[0].delta.content or "" for c in stream(gateway, "go") if c.choices) == LONG


def test_without_a_stream_the_same_answer_comes_whole(gateway: RunningGateway) -> None:
    body = chat_body(model="stepdown/support", messages=[{"role": "user", "content": "go"}])

    got = gateway.ask("POST", CHAT, body, {"content-type": "application/json"})

    assert json.loads(got.body)["choices"][0]["message"]["content"] == LONG
