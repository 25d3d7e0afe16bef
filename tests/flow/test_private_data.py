"""Private data leaves no trace where a policy redacts: in no file, no log, no metric, no export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.flow.conftest import TEACHER_KEY
from tests.harvest.test_redaction import CANARIES
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for

POLICY = """
policies:
  - name: private
    redact: all
"""


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    policies = home.with_name("policies")
    policies.mkdir()
    (policies / "private.yaml").write_text(POLICY)
    with gateway_process(
        home,
        "--open",
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_POLICIES_FOLDER=str(policies),
        STEPDOWN_LEARN_INTERVAL_S="0.1",
        STEPDOWN_LEARN_ADOPT_ROWS="3",
    ) as gateway:
        yield gateway


def core(canary: str) -> bytes:
    """Return the part of a canary that gives it away, not the words around it."""
    return canary.removeprefix("password: ").rpartition("://app:")[2].partition("@db")[0].encode()


def exported(home: Path) -> list[dict[str, Any]]:
    lines = stepdown(home, "harvest", "export", "--with-audits").stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_canaries_are_in_no_file_log_metric_or_export(gateway: RunningGateway) -> None:
    """In a prompt, a template, a user id, and the answer that an app proposes."""
    with openai.OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=PATIENCE_S) as client:
        for canary in CANARIES:
            as_user: Any = [{"role": "user", "content": f"I am {canary}\n"}]
            as_template: Any = [
                {"role": "system", "content": f"The user is {canary}"},
                {"role": "user", "content": "what may I do?"},
            ]
            reply = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=as_user)
            assert reply.headers["x-stepdown-reason"].startswith("private data")
            client.chat.completions.create(model="gpt-4o", messages=as_template, user=canary)
            said = {"request_id": reply.headers["x-stepdown-request-id"], "answer": canary}
            client.post("/feedback", cast_to=object, body=said)
    wait_for(lambda: len(exported(gateway.home)) == 2 * len(CANARIES), "the harvest is not written")

    told = [path.read_bytes() for path in gateway.home.rglob("*") if path.is_file()]
    told += [gateway.log().encode(), json.dumps(exported(gateway.home)).encode()]
    told += [gateway.ask_admin("GET", path).body for path in ("/metrics", "/status")]
    for canary in CANARIES:
        assert not any(core(canary) in each for each in told), canary
