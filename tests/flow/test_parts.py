"""Rows of a real gateway move to parts, and every command that reads or forgets rows follows them there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.flow.conftest import TEACHER_KEY
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for

USERS = ("jane@example.org", "joe@example.org")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    pytest.importorskip("duckdb")
    return tmp_path / "parts"


@pytest.fixture
def gateway(home: Path, running: RunningTeacher, parts: Path) -> Iterator[RunningGateway]:
    with gateway_process(
        home,
        "--open",
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_LEARN_ENABLED="false",
        STEPDOWN_HARVEST_PARTS=str(parts),
        STEPDOWN_HARVEST_PARTS_EVERY_S="0.2",
    ) as gateway:
        yield gateway


def test_rows_move_and_commands_follow(gateway: RunningGateway, home: Path, parts: Path) -> None:
    where = {"STEPDOWN_HARVEST_PARTS": str(parts)}
    with openai.OpenAI(base_url=gateway.base_url, api_key="any", timeout=PATIENCE_S) as client:
        answers = []
        for n in range(6):
            content = f"Sort this: {USERS[n % 2].partition('@')[0]} number {n}"
            answers.append(
                client.chat.completions.with_raw_response.create(
                    model="gpt-4o", messages=[{"role": "user", "content": content}], user=USERS[n % 2]
                )
            )
            if n == 2:
                gateway.kill("gateway.processes.shipper")

    def count_moved() -> int:
        listed = stepdown(home, "harvest", "parts", "--json", **where)
        return sum(json.loads(line)["rows"] for line in listed.stdout.splitlines())

    wait_for(lambda: count_moved() == 6, "every row has moved")
    # What serves has nothing of it in memory.
    for module in ("gateway.processes.worker", "gateway.processes.admin", "gateway.specialists.host.process"):
        assert "duckdb" not in Path(f"/proc/{gateway.child(module)}/maps").read_text(encoding="utf-8")

    stats = json.loads(stepdown(home, "harvest", "stats", "--json", **where).stdout)
    assert sum(sum(count.values()) for count in stats["tasks"].values()) == 6
    shown = stepdown(home, "harvest", "show", answers[-1].headers["x-stepdown-request-id"], **where)
    assert "joe number 5" in shown.stdout
    sql = "SELECT count(*) AS n FROM rows WHERE text LIKE '%jane%'"
    assert json.loads(stepdown(home, "harvest", "query", sql, "--json", **where).stdout) == {"n": 3}
    assert "joe number 5" in stepdown(home, "harvest", "tail", **where).stdout
    exported = stepdown(home, "harvest", "export", "--with-audits", **where)
    assert len(exported.stdout.splitlines()) == 6, exported.stderr

    receipt = json.loads(stepdown(home, "harvest", "forget", "--user", USERS[0], "--json", **where).stdout)

    assert receipt["rows"] == 3
    assert any("other machines" in holder for holder in receipt["still_held_by"])
    assert not [
        path
        for folder in (parts, home / "harvest")
        for path in folder.rglob("*")
        if path.is_file() and b"jane" in path.read_bytes()
    ]
    assert stepdown(home, "harvest", "query", sql, "--json", **where).stdout.strip() == '{"n":0}'
