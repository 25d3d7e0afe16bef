"""The simulated teacher is labeled, answers in OpenAI's shape, and can be controlled from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from gateway.demo.teacher.faults import Fault
from tests.support.teacher import RunningTeacher, running_teacher


def fetch(url: str, method: str = "GET", body: bytes | None = None) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method)) as reply:
        return json.loads(reply.read())


def sdk(teacher: RunningTeacher, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=teacher.base_url, api_key=key, max_retries=0)


def test_every_answer_is_labeled_as_simulated(teacher: RunningTeacher) -> None:
    with urllib.request.urlopen(f"{teacher.base_url}/models") as reply:
        assert reply.headers["x-simulated-teacher"] == "true"


def test_a_recorded_question_gets_its_answer(teacher: RunningTeacher) -> None:
    with sdk(teacher) as client:
        given = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "ping"}])

    assert (given.choices[0].message.content, given.model) == ("pong and more", "m")


def test_a_stream_carries_the_same_answer_and_usage_when_asked(teacher: RunningTeacher) -> None:
    with sdk(teacher) as client:
        chunks = list(
            client.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": [{"type": "text", "text": "ping"}]}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert (text, chunks[-1].choices, chunks[-1].usage is not None) == ("pong and more", [], True)


def test_a_key_may_be_demanded() -> None:
    with running_teacher(api_key="sk-right") as teacher:
        with sdk(teacher, "sk-wrong") as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
        with sdk(teacher, "sk-right") as client:
            assert [model.id for model in client.models.list()] == ["gpt-4o"]


def test_another_body_is_refused_in_openais_shape(teacher: RunningTeacher) -> None:
    with sdk(teacher) as client, pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="m", messages="no")  # type: ignore[arg-type]


def test_it_can_be_controlled_over_http(tmp_path: Path) -> None:
    """As the demo and the load tests do: start, set pairs, script faults, look."""
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_bytes(b'{"messages": [{"role": "user", "content": "a"}], "answer": "b"}\n')
    command = [sys.executable, "-m", "gateway.demo.teacher", "--pairs", str(pairs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        root = f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        question = b'{"model": "m", "messages": [{"role": "user", "content": "a"}]}'

        first = fetch(f"{root}/v1/chat/completions", "POST", question)
        fetch(f"{root}/__teacher/pairs", "PUT", pairs.read_bytes().replace(b'"b"', b'"c"'))
        fetch(f"{root}/__teacher/latency", "PUT", b"1")
        fault = Fault(status=202, headers=(("x-scripted", "1"),))
        fetch(f"{root}/__teacher/faults", "POST", msgspec.json.encode([fault]))
        second = fetch(f"{root}/v1/chat/completions", "POST", question)
        report = fetch(f"{root}/__teacher/seen")
        process.terminate()

    assert [given["choices"][0]["message"]["content"] for given in (first, second)] == ["b", "c"]
    assert (report["requests"], report["latest"][1]["target"]) == (2, "/v1/chat/completions")


def test_an_unknown_control_request_is_refused(teacher: RunningTeacher) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        fetch(f"http://127.0.0.1:{teacher.port}/__teacher/nonsense")
