"""Three gateways behind Envoy that share Valkey, and rows and specialists on S3, and what they survive."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from statistics import quantiles

import aiohttp
import msgspec

from gateway.harvest.reader import HarvestReader
from gateway.processes.harvest_access import query_harvest
from gateway.processes.registry_access import open_shared
from gateway.settings import read_settings
from gateway.specialists.runtimes.scripted import Script
from gateway.store.home import Home
from gateway.store.state import open_state
from loadtests.support.cluster_figures import Figure
from tests.specialists.hosting import publish_script
from tests.support.builders import certified
from tests.support.envoy import running_envoy
from tests.support.object_storage import KEY, SECRET, run_object_storage
from tests.support.ports import find_port
from tests.support.processes import RunningGateway, children, environment, gateway_process, is_alive
from tests.support.scripted_gateway import put_task
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.teacher import running_teacher
from tests.support.valkey import running_valkey

RATE = 45.0
TEACHER_MS = 20.0
KILLS = 15
AWAY_S = 15.0
TASK = "support"
SETTINGS = """
[registry]
storage = "s3://cluster/registry"
options = {{endpoint_url = "{url}", client_kwargs = {{region_name = "us-east-1"}}}}

[harvest]
parts = "s3://cluster/rows"
parts_options = {{endpoint_url = "{url}", client_kwargs = {{region_name = "us-east-1"}}}}
parts_every_s = 1.0
"""


class Sent(msgspec.Struct, frozen=True):
    """One request: when it began and ended, its status (0: the connection broke), and what answered."""

    began: float
    ended: float
    status: int
    decision: str
    request_id: str
    why: str = ""
    """What a failed one was told."""


class Node:
    """One gateway, which keeps its home and its port however often it ends."""

    def __init__(self, home: Path, variables: dict[str, str]) -> None:
        self.home = home
        self.port = find_port()
        self._variables = variables
        self._running = ExitStack()
        self.gateway: RunningGateway | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        Home(self.home).run_file.unlink(missing_ok=True)
        flags = ("--open", "--port", str(self.port))
        self.gateway = self._running.enter_context(gateway_process(self.home, *flags, **self._variables))
        while self.gateway.ask("GET", "/readyz").status != 200:
            time.sleep(0.05)

    def end(self) -> None:
        """SIGTERM it, and wait until it has drained."""
        self._running.close()

    def kill(self) -> tuple[float, float]:
        """SIGKILL all its processes, as a power cut would; return when that began and had happened."""
        assert self.gateway is not None
        began = time.perf_counter()
        pid = self.gateway.process.pid
        tree = [pid, *children(pid)]
        for one in tree:
            os.kill(one, signal.SIGKILL)
        while any(map(is_alive, tree)):
            time.sleep(0.001)
        ended = time.perf_counter()
        self._running.close()
        return began, ended

    def read_outbox(self) -> set[str]:
        """Return the ids of the rows that are durable on its disk."""
        reader = HarvestReader(Home(self.home).harvest)
        return {row.request_id for task in reader.counts() for row in reader.rows(task).rows}


class BehindEnvoy:
    """The nodes, the address before them, and their object storage."""

    def __init__(self, url: str, nodes: Sequence[Node], storage: TcpProxy, variables: dict[str, str]) -> None:
        self.url = url
        self.nodes = nodes
        self.storage = storage
        self.variables = variables

    def read_parts_at_rest(self) -> Counter[str]:
        """Return how often each row is in the parts, once no row waits on a node's disk."""
        while any(node.read_outbox() for node in self.nodes):
            time.sleep(0.5)
        found = query_harvest(
            read_settings(environment(self.nodes[0].home, **self.variables)), "SELECT request_id FROM rows"
        )
        return Counter(str(row[0]) for row in found.rows)


@asynccontextmanager
async def running_behind_envoy(folder: Path) -> AsyncIterator[BehindEnvoy]:
    """Start everything, with a specialist that one machine has published and all of them serve."""
    async with AsyncExitStack() as stack:
        valkey = stack.enter_context(running_valkey())
        (folder / "s3").mkdir()
        options = stack.enter_context(run_object_storage(folder / "s3", "cluster"))
        storage = stack.enter_context(tcp_proxy(int(options["endpoint_url"].rpartition(":")[2])))
        teacher = stack.enter_context(running_teacher({"ping": "pong"}, latency_ms=TEACHER_MS))
        (folder / "stepdown.toml").write_text(SETTINGS.format(url=f"http://127.0.0.1:{storage.port}"))
        secrets = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        os.environ.update(secrets)
        variables = {
            "OPENAI_BASE_URL": teacher.base_url,
            "OPENAI_API_KEY": "sk-provider",
            "STEPDOWN_CONFIG": str(folder / "stepdown.toml"),
            "STEPDOWN_STATE_URL": valkey.url,
            "STEPDOWN_LEARN_ENABLED": "false",
            # By this name Envoy asks for their health.
            "STEPDOWN_SERVER_NAMES": "gateways",
            # It does so every second.
            "STEPDOWN_SERVER_DRAIN_DELAY_S": "3",
            **secrets,
        }
        nodes = [Node(folder / name, variables) for name in "abc"]
        await asyncio.to_thread(_publish_specialist, nodes[0].home, variables)
        for node in nodes:
            stack.callback(node.end)
            await asyncio.to_thread(node.start)
        port = await stack.enter_async_context(running_envoy(folder, [node.port for node in nodes]))
        behind = BehindEnvoy(f"http://127.0.0.1:{port}", nodes, storage, variables)
        await _wait_until_all_serve(behind)
        yield behind


async def measure_upgrade(behind: BehindEnvoy) -> list[Figure]:
    """Return how many requests fail while each gateway in turn ends and starts again."""

    async def upgrade() -> None:
        for node in behind.nodes:
            await asyncio.to_thread(node.end)
            await asyncio.to_thread(node.start)
            await asyncio.sleep(2.0)

    sent = await _offer_during(behind, upgrade)
    failed = [each for each in sent if each.status != 200]
    note = f"of {len(sent)}, {_count_local(sent)} of them answered locally{_describe(failed)}"
    return [Figure("failed requests, rolling upgrade of all three", len(failed), 0, note=note)]


async def measure_kills(behind: BehindEnvoy) -> list[Figure]:
    """Return what is lost when gateways are killed one after the other, all their processes at once."""
    kills: list[tuple[float, float]] = []
    committed: set[str] = set()

    async def kill_in_turn() -> None:
        for number in range(KILLS):
            node = behind.nodes[number % len(behind.nodes)]
            kills.append(await asyncio.to_thread(node.kill))
            committed.update(await asyncio.to_thread(node.read_outbox))
            await asyncio.to_thread(node.start)
            await asyncio.sleep(2.0)

    sent = await _offer_during(behind, kill_in_turn)
    parts = await asyncio.to_thread(behind.read_parts_at_rest)
    failed = [each for each in sent if each.status != 200]
    others = [each for each in failed if not any(_was_open(each, kill) for kill in kills)]
    taught = {each.request_id for each in sent if each.status == 200 and each.decision != "local"}
    note = f"{len(failed)} of {len(sent)} failed in {KILLS} kills{_describe(others)}"
    unwritten = f"{len(taught - parts.keys())} answers' rows were not yet durable"
    twice = sum(count > 1 for count in parts.values())
    return [
        Figure("failed requests that were not open at a kill -9", len(others), 0, note=note),
        Figure("  committed rows lost", len(committed - parts.keys()), 0, note=unwritten),
        Figure("  committed rows doubled", twice, 0, note=f"of {len(parts)}"),
    ]


async def measure_storage(behind: BehindEnvoy) -> list[Figure]:
    """Return what clients see of an object storage that does not answer."""

    async def wait() -> None:
        await asyncio.sleep(AWAY_S)

    # The first requests of each gateway are slower.
    await _offer_during(behind, wait)
    up = await _offer_during(behind, wait)
    behind.storage.cut()
    try:
        down = await _offer_during(behind, wait)
    finally:
        behind.storage.heal()
    errors = sum(each.status != 200 for each in up + down)
    note = f"{_p99_ms(down):.1f} ms, {_p99_ms(up):.1f} before; {_count_local(down)} answered locally"
    return [
        Figure("p99, object storage frozen", _p99_ms(down) / _p99_ms(up), 1.2, "x", note),
        Figure("  clients' errors", errors, 0),
    ]


BEHIND_ENVOY: dict[str, Callable[[BehindEnvoy], Awaitable[list[Figure]]]] = {
    "storage": measure_storage,
    "upgrade": measure_upgrade,
    "kills": measure_kills,
}


async def _offer_during(behind: BehindEnvoy, change: Callable[[], Awaitable[None]]) -> list[Sent]:
    """Send RATE requests per second, every third to a specialist, until `change` is done."""
    sent: list[Sent] = []
    changing = asyncio.ensure_future(change())
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        began, number = time.perf_counter(), 0
        while not changing.done():
            model = f"stepdown/{TASK}" if number % 3 == 0 else "gpt-4o"
            group.create_task(_send(session, behind.url, model, sent))
            number += 1
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
    await changing
    return sent


async def _send(session: aiohttp.ClientSession, url: str, model: str, sent: list[Sent]) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "ping"}]}
    began, status, decision, request_id, why = time.perf_counter(), 0, "", "", ""
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
            content = await answer.read()
            status = answer.status
            why = content.decode()[:120] if status != 200 else ""
            decision = answer.headers.get("x-stepdown-decision", "")
            request_id = answer.headers.get("x-stepdown-request-id", "")
    except (aiohttp.ClientError, TimeoutError) as exc:
        why = repr(exc)
    sent.append(Sent(began, time.perf_counter(), status, decision, request_id, why))


def _publish_specialist(home: Path, variables: dict[str, str]) -> None:
    registry = open_shared(read_settings(environment(home, **variables)))
    Home(home).make()
    with open_state(Home(home)) as state:
        publish_script(registry, home / "script", Script(otherwise="local"), task=TASK)
        state.certifications.put(msgspec.structs.replace(certified(TASK), digest=registry.digest(TASK, 1)))
        put_task(state, TASK)


async def _wait_until_all_serve(behind: BehindEnvoy) -> None:
    for node in behind.nodes:
        sent: list[Sent] = []
        async with aiohttp.ClientSession() as session:
            while not sent or sent[-1].status != 200:
                await _send(session, f"http://127.0.0.1:{node.port}", f"stepdown/{TASK}", sent)
                await asyncio.sleep(0.1)


def _was_open(sent: Sent, kill: tuple[float, float]) -> bool:
    return sent.began <= kill[1] and sent.ended >= kill[0]


def _describe(failed: Sequence[Sent]) -> str:
    """Return the commonest reasons, empty if none failed."""
    found = Counter(f"{each.status} {each.why}" for each in failed).most_common(3)
    return "".join(f"; {count}x {why!r}" for why, count in found)


def _count_local(sent: Sequence[Sent]) -> int:
    return sum(each.decision == "local" for each in sent)


def _p99_ms(sent: Sequence[Sent]) -> float:
    return quantiles([each.ended - each.began for each in sent], n=100)[98] * 1000
