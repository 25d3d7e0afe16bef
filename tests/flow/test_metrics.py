"""What `/metrics` of a real gateway shows is what the catalog lists."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.catalog import CATALOG
from tests.support.processes import RunningGateway, gateway_process
from tests.support.teacher import running_teacher
from tests.support.valkey import running_valkey
from tests.support.waiting import wait_for

WITH_AN_EXPORT_ALONE = {"stepdown_spans_waiting", "stepdown_spans_dropped_total"}
OF_MANY_MACHINES = {facts.name for facts in CATALOG if facts.topic == "Many machines"}
WORKER = "gateway.processes.worker"


def families(gateway: RunningGateway) -> dict[str, list[tuple[dict[str, str], float]]]:
    text = gateway.ask_admin("GET", "/metrics").body.decode()
    return {
        family.name + ("_total" if family.type == "counter" else ""): [
            (sample.labels, sample.value) for sample in family.samples
        ]
        for family in text_string_to_metric_families(text)
    }


def test_the_catalog_is_what_is_shown_and_a_restart_is_counted(tmp_path: Path) -> None:
    with (
        running_teacher({"ping": "pong"}, api_key="sk-teacher") as teacher,
        gateway_process(
            tmp_path / "home", OPENAI_API_KEY="sk-teacher", OPENAI_BASE_URL=teacher.base_url
        ) as gateway,
    ):
        shown = families(gateway)
        assert shown.keys() == {facts.name for facts in CATALOG} - WITH_AN_EXPORT_ALONE - OF_MANY_MACHINES
        [(_, workers)] = shown["stepdown_workers_running"]
        assert workers == 1
        gateway.kill(WORKER)

        def restarts() -> float:
            return sum(
                value
                for labels, value in families(gateway)["stepdown_process_restarts_total"]
                if labels == {"process": "worker 0"}
            )

        wait_for(lambda: restarts() == 1, "the restart is not counted")
        wait_for(lambda: gateway.ask("GET", "/readyz").status == 200, "the worker does not come back")


def test_machines_show_how_they_stand_with_the_others(tmp_path: Path) -> None:
    with running_valkey() as valkey, gateway_process(tmp_path / "home", STEPDOWN_STATE_URL=valkey.url) as one:
        shown = families(one)
        assert shown.keys() >= OF_MANY_MACHINES
        assert shown["stepdown_shared_state_away"] == [({}, 0.0)]
        assert shown["stepdown_shared_state_machines"] == [({}, 1.0)]

        valkey.freeze()
        wait_for(lambda: families(one)["stepdown_shared_state_away"] == [({}, 1.0)], "nothing says so")
        assert families(one)["stepdown_shared_state_age_seconds"][0][1] > 1
