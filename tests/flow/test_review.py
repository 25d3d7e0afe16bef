"""From a user's thumb down to a corrected lesson, through a real gateway and the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.flow.conftest import TEACHER_KEY
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    with gateway_process(
        home,
        "--open",
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_LEARN_ENABLED="false",
    ) as gateway:
        yield gateway


def review(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stepdown(home, "harvest", "review", "--json").stdout.splitlines()]


def lessons(home: Path) -> list[str]:
    lines = stepdown(home, "harvest", "export", "--with-audits").stdout.splitlines()
    return [json.loads(line)["messages"][-1]["content"] for line in lines]


def test_a_thumb_down_ends_in_a_corrected_lesson(gateway: RunningGateway, tmp_path: Path) -> None:
    with openai.OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=PATIENCE_S) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "where is my card?"}],
            extra_headers={"x-stepdown-mode": "teacher"},
        )
        request_id = raw.headers["x-stepdown-request-id"]
        said = raw.parse().choices[0].message.content
        feedback = {"request_id": request_id, "rating": "down", "answer": "card_arrival"}
        client.post("/feedback", cast_to=httpx.Response, body=feedback)
    home = gateway.home
    wait_for(lambda: review(home), "neither the row nor the feedback is written")

    (item,) = review(home)
    assert (item["request_id"], item["source"]) == (request_id, "feedback")
    assert set(item["candidates"]) == {said, "card_arrival"}
    assert request_id in stepdown(home, "harvest", "tail").stdout

    rulings = tmp_path / "rulings.jsonl"
    rulings.write_text(json.dumps({"request_id": request_id, "answer": "card_arrival"}) + "\n")
    applied = stepdown(home, "harvest", "review", "--apply", str(rulings))
    assert applied.stdout == "verdicts given: 0 accept, 1 correct, 0 exclude\n"
    assert review(home) == []
    assert lessons(home) == ["card_arrival"]
    shown = json.loads(stepdown(home, "harvest", "show", request_id).stdout)
    assert shown["verdicts"][0]["answer"] == "card_arrival"
    assert shown["rows"][0]["answer"] == said

    assert stepdown(home, "harvest", "review", "--undo").stdout == f"taken back: correct {request_id}\n"
    assert lessons(home) == [said]


def count_rows(home: Path) -> int:
    """Return what SQL counts; 0 before the first row is written."""
    counted = stepdown(home, "harvest", "query", "SELECT count(*) AS n FROM rows", "--json")
    return int(json.loads(counted.stdout)["n"]) if counted.returncode == 0 else 0


def test_sql_reads_what_the_gateway_writes(gateway: RunningGateway) -> None:
    assert (
        gateway.chat(model="gpt-4o", messages=[{"role": "user", "content": "is it on its way?"}]).status
        == 200
    )
    assert wait_for(lambda: count_rows(gateway.home), "no row is found") >= 1

    refused = stepdown(gateway.home, "harvest", "query", "DELETE FROM rows")
    assert refused.returncode == 2
    assert "cannot modify" in refused.stderr
