from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.plugins import list_plugins, load_plugin
from gateway.ipc.child_process import end_process
from loadtests.peers.base import AbsentError, Place
from loadtests.peers.bench import Bench, Length
from loadtests.peers.endurance import open_streams
from loadtests.peers.figures import Figures, Report
from loadtests.peers.prompts import build_requests
from loadtests.peers.running import ADAPTERS, Running, free_port, running_teacher
from loadtests.peers.tables import format_tables
from loadtests.peers.teacher import marker
from loadtests.support.generator import Generator, Job
from loadtests.support.timestamps import STAMP
from tests.support.waiting import PATIENCE_S

BRIEF = Length(seconds=0.2, rounds=1, block=10, open_chunks=3, open_every_ms=20)


@pytest.fixture(scope="module")
def teacher_port() -> Iterator[int]:
    with running_teacher(os.sched_getaffinity(0)) as (port, _):
        yield port


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator() as generator:
        yield generator


def ask(port: int, body: bytes, *, pieces: int = 1, headers: dict[str, str] | None = None) -> bytes:
    """Send a chat completion, in chunks if more than one piece; return the answer's body."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        length = len(body) // pieces + 1
        parts = (body[start : start + length] for start in range(0, len(body), length))
        sent = body if pieces == 1 else parts
        connection.request("POST", "/v1/chat/completions", sent, headers or {})
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read()


@pytest.mark.parametrize("pieces", [1, 7])
def test_the_teacher_answers_as_the_question_says(teacher_port: int, pieces: int) -> None:
    body = b'{"messages": [{"role": "user", "content": "hello %b"}]}' + b" " * 70_000

    plain = ask(teacher_port, body % b"[[plain]]", pieces=pieces)
    stream = ask(teacher_port, body % marker(5, 1, "first").encode(), pieces=pieces)
    stamped = ask(teacher_port, body % marker(5, 1, "all").encode(), pieces=pieces)

    assert json.loads(plain)["choices"][0]["finish_reason"] == "stop"
    # Five chunks; the last one holds the end of the answer and of the stream.
    assert [text.count(b"data: ") for text in (stream, stamped)] == [6, 6]
    assert [len(STAMP.findall(text)) for text in (stream, stamped)] == [1, 4]
    assert stream.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("size", [1_024, 10_240, 51_200])
def test_a_prompt_has_the_requested_size(size: int) -> None:
    requests = build_requests(size, [("authorization", "Bearer any")], marker(2, 1, "all"))
    heads, bodies = zip(*(request.split(b"\r\n\r\n") for request in requests), strict=True)

    assert {len(body) for body in bodies} == {size}
    assert all(f"content-length: {size}".encode() in head for head in heads)
    assert len({json.loads(body)["messages"][0]["content"] for body in bodies}) == 1, "one template"
    assert len(set(bodies)) > 50


def test_refused_requests_are_counted_as_failed(generator: Generator, teacher_port: int) -> None:
    requests = build_requests(1_024, ())
    refused = generator.attempt(Job(port=free_port(), requests=requests, in_flight=2, count=2))
    answered = generator.attempt(Job(port=teacher_port, requests=requests, in_flight=2, count=4))

    assert refused.answers == 0
    assert len(refused.failed) == 1
    assert answered.answers == 4, "the generator still works"


def test_many_open_streams_all_arrive_whole_with_their_delays(
    generator: Generator, teacher_port: int
) -> None:
    bench = Bench(generator, os.getpid(), BRIEF)

    opened = open_streams(bench, Running("direct", teacher_port), 200)

    assert opened.finished == 1
    assert opened.delay_p50_ms is not None
    assert opened.delay_p50_ms < PATIENCE_S * 1_000
    assert opened.lag_p50_ms is None, "there is no gateway to ask"
    assert not bench.failed["direct"]


@pytest.mark.parametrize("name", sorted(set(list_plugins(ADAPTERS)) - {"stepdown"}))
def test_an_absent_peer_is_reported_with_the_folder_searched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    place = Place(peers=tmp_path / "peers", scratch=tmp_path, teacher_port=1, port=2)

    with pytest.raises(AbsentError, match="peers"):
        load_plugin(ADAPTERS, name).prepare(place)


def test_a_gateway_can_be_served_in_front_of_any_teacher(teacher_port: int) -> None:
    command = [sys.executable, "-m", "loadtests.peers", "--serve", "stepdown"]
    with subprocess.Popen(
        [*command, "--teacher-port", str(teacher_port)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            base_url = process.stdout.readline().strip()
            name, _, value = process.stdout.readline().strip().partition(": ")
            port = int(base_url.removeprefix("http://127.0.0.1:").removesuffix("/v1"))
            body = build_requests(1_024, ())[0].partition(b"\r\n\r\n")[2]
            answer = json.loads(ask(port, body, headers={name: value}))
        finally:
            end_process(process, PATIENCE_S)
    assert answer["id"] == "chatcmpl-mock"
    assert process.returncode == 0


def test_each_of_our_figures_stands_beside_its_bar() -> None:
    figures = {
        "litellm": Figures(plain_1k_per_s=100.0, plain_1k_cpu_us=9_000.0),
        "stepdown": Figures(plain_1k_per_s=4_500.0, plain_1k_cpu_us=250.0),
        "direct": Figures(plain_1k_per_s=40_000.0),
    }
    report = Report(
        cores=(0, 1),
        load_average=(0.0, 1.0),
        versions={"litellm": "1.0", "stepdown": "0.1.0"},
        skipped={"portkey": "no node on PATH"},
        failures={"litellm": {"HTTP/1.1 500": 3}},
        figures=figures,
        workers=None,
        start=None,
    )

    text = format_tables(report)

    assert "| figure | bar | direct | stepdown 0.1.0 | litellm 1.0 |" in text
    assert "| plain 1k per s | >= 4,000 | 40,000 | **4,500** (met) | 100 |" in text
    assert "| plain 1k cpu us | <= 240 | - | **250** (MISSED) | 9,000 |" in text
    assert "| **45** (MISSED) |" in text, "a ratio has its bar with the peer"
    assert "portkey skipped: no node on PATH" in text
    assert "litellm: 3 requests failed with: HTTP/1.1 500" in text
