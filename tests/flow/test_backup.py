"""A backup of a gateway under load, and the gateway that is started from it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from tests.api.site_server import HttpAnswer
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import running_teacher
from tests.support.waiting import wait_for

CLIENTS = 4


def test_a_gateway_under_load_is_backed_up_and_goes_on_from_the_copy(tmp_path: Path) -> None:
    home, copy, fresh = tmp_path / "home", tmp_path / "copy", tmp_path / "fresh"
    with running_teacher({"ping": "pong"}, api_key="sk-teacher") as teacher:
        teacher_is = {"OPENAI_API_KEY": "sk-teacher", "OPENAI_BASE_URL": teacher.base_url}
        key = stepdown(home, "keys", "create", "--name", "app").stdout.strip()
        with gateway_process(home, "--workers", "2", **teacher_is) as gateway:
            first = dict(ask(gateway, key).headers)["x-stepdown-request-id"]
            wait_for(lambda: stepdown(home, "why", first).returncode == 0, "it is not recorded")
            [rows] = wait_for(lambda: list((home / "harvest").glob("worker-*.db")), "it is not harvested")
            statuses: list[int] = []
            stop = threading.Event()

            def keep_asking() -> None:
                while not stop.is_set():
                    statuses.append(ask(gateway, key).status)

            threads = [threading.Thread(target=keep_asking) for _ in range(CLIENTS)]
            for thread in threads:
                thread.start()
            try:
                backed_up = stepdown(home, "backup", str(copy), "--json")
                in_use = stepdown(home, "restore", str(copy), "--replace")
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            assert backed_up.returncode == 0, backed_up.stderr
            assert (in_use.returncode, "stop it first" in in_use.stderr) == (2, True)
            assert set(statuses) == {200}
        names = {file["path"] for file in json.loads(backed_up.stdout)["files"]}
        assert {"state.db", "decisions.db", f"harvest/{rows.name}", "audit.key"} <= names

        assert stepdown(fresh, "restore", str(copy)).returncode == 0
        with gateway_process(fresh, **teacher_is) as gateway:
            assert ask(gateway, key).status == 200
            assert f"request      {first}" in stepdown(fresh, "why", first).stdout
    verdict = json.loads(stepdown(fresh, "audit", "verify", "--json").stdout)
    actions = [entry["action"] for entry in json.loads(stepdown(fresh, "audit", "list", "--json").stdout)]
    assert (verdict["fault"], actions) == ("", ["keys create", "backup", "restore"])


def ask(gateway: RunningGateway, key: str) -> HttpAnswer:
    return gateway.chat(
        {"authorization": f"Bearer {key}"}, model="gpt-4o", messages=[{"role": "user", "content": "ping"}]
    )
