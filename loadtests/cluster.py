"""Three gateways on one Valkey: limits, budgets, latency and errors while it is there, and while it is not.

`python -m loadtests.cluster [PART ...] [--json FILE]` starts them all on this machine, offers at most
50 requests per second, and prints each figure beside its bar. Parts: steady, away, budget, latency, news,
cost; clients go from gateway to gateway in turn. storage, upgrade and kills: behind a real Envoy, with rows
and specialists on a real S3 server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

import aiohttp
import msgspec

from loadtests.support.cluster_behind_envoy import BEHIND_ENVOY, running_behind_envoy
from loadtests.support.cluster_cost import measure_cost
from loadtests.support.cluster_figures import Figure
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.teacher import running_teacher
from tests.support.valkey import RunningValkey, running_valkey

RATE = 45.0
TEACHER_MS = 20.0
LIMIT = 300
SPAN_S = 20.0
PAIRS, PAIR_S = 5, 8.0
"""Runs with and without a fault in turn: other work on the machine meets both alike."""
USD_PER_TOKEN = 0.001
BUDGET_USD = 2.0
MOST_STEADY, MOST_AWAY, MOST_P99, MOST_COST_US = 0.02, 0.20, 1.2, 10.0
PRICES = """
[prices.priced]
input = 0.0
output = 1000.0
"""
"""A token of an answer costs USD_PER_TOKEN."""


class Cluster:
    """The gateways, and what they are on."""

    def __init__(
        self, gateways: Sequence[RunningGateway], valkey: RunningValkey, proxies: Sequence[TcpProxy]
    ) -> None:
        self.gateways = gateways
        self.valkey = valkey
        self.proxies = proxies
        """Between each gateway and Valkey."""

    def create_key(self, name: str, *limits: str) -> str:
        """Return a new key, once every gateway knows it."""
        key = stepdown(self.gateways[0].home, "keys", "create", "--name", name, *limits).stdout.strip()
        bearer = {"authorization": f"Bearer {key}"}
        for gateway in self.gateways:
            while gateway.ask("GET", "/v1/models", headers=bearer).status == 401:
                time.sleep(0.02)
        return key

    def wait_for(self, state: str) -> None:
        """Wait until every gateway is connected, or away."""
        for gateway in self.gateways:
            while gateway.status()["shared_state"]["state"] != state:
                time.sleep(0.05)


class Traffic(msgspec.Struct, frozen=True):
    """What clients saw: the status of each request, 0 for none, and how long it took."""

    statuses: Counter[int]
    latencies_s: list[float]
    tokens: int
    """Of all answers."""

    @property
    def errors(self) -> int:
        """Requests that ended otherwise than with an answer, or with a word about a limit."""
        return sum(count for status, count in self.statuses.items() if status not in (200, 429))

    @property
    def p99_ms(self) -> float:
        """Of the requests that were answered."""
        return quantiles(self.latencies_s, n=100)[98] * 1000


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start three gateways, each with a way of its own to Valkey."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        valkey = stack.enter_context(running_valkey())
        answer = {"ping": "one two three four five six seven eight nine ten"}
        teacher = stack.enter_context(running_teacher(answer, latency_ms=TEACHER_MS))
        (folder / "stepdown.toml").write_text(PRICES)
        gateways, proxies = [], []
        for name in "abc":
            proxy = stack.enter_context(tcp_proxy(valkey.port))
            gateways.append(
                stack.enter_context(
                    gateway_process(
                        folder / name,
                        OPENAI_BASE_URL=teacher.base_url,
                        OPENAI_API_KEY="sk-provider",
                        STEPDOWN_CONFIG=str(folder / "stepdown.toml"),
                        STEPDOWN_STATE_URL=f"redis://127.0.0.1:{proxy.port}",
                        STEPDOWN_LEARN_ENABLED="false",
                    )
                )
            )
            proxies.append(proxy)
        cluster = Cluster(gateways, valkey, proxies)
        cluster.wait_for("connected")
        yield cluster


async def offer(
    cluster: Cluster, key: str, span_s: float, *, rate: float = RATE, **fields: object
) -> Traffic:
    """Send `rate` requests per second for `span_s`, whatever becomes of them, and wait for all."""
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    tokens: list[int] = []
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "ping"}]} | fields

    async def send(session: aiohttp.ClientSession, url: str) -> None:
        began = time.perf_counter()
        try:
            async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                content = await answer.read()
                statuses[answer.status] += 1
                if answer.status == 200:
                    latencies.append(time.perf_counter() - began)
                    tokens.append(json.loads(content)["usage"]["completion_tokens"])
        except (aiohttp.ClientError, TimeoutError):
            statuses[0] += 1

    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.TaskGroup() as group:
        began = time.perf_counter()
        for number in range(int(span_s * rate)):
            # Clients do not come by the clock; a regular beat would hide what they meet.
            due = began + (number + random.random()) / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            url = cluster.gateways[number % len(cluster.gateways)].url
            group.create_task(send(session, url))
    return Traffic(statuses, latencies, sum(tokens))


async def measure_steady(cluster: Cluster) -> list[Figure]:
    """Return by how much a limit was exceeded, far more being asked than it allows."""
    key = await asyncio.to_thread(cluster.create_key, "steady", "--requests-per-minute", str(LIMIT))
    traffic = await offer(cluster, key, SPAN_S)
    return [
        _over_admission("over-admission, steady", traffic, SPAN_S, MOST_STEADY),
        Figure("  clients' errors", traffic.errors, 0),
    ]


async def measure_away(cluster: Cluster) -> list[Figure]:
    """Return the same with Valkey killed after a quarter of the time."""
    key = await asyncio.to_thread(cluster.create_key, "away", "--requests-per-minute", str(LIMIT))
    # Whole windows of the limit: what counts is what it would have let through.
    first = await offer(cluster, key, SPAN_S / 10)
    cluster.valkey.kill()
    second = await offer(cluster, key, SPAN_S)
    await asyncio.to_thread(_start_again, cluster)
    both = _join([first, second])
    return [
        _over_admission("over-admission, Valkey killed amid a burst", both, SPAN_S * 1.1, MOST_AWAY),
        Figure("  clients' errors", both.errors, 0),
    ]


async def measure_budget(cluster: Cluster) -> list[Figure]:
    """Return what was admitted of a budget, with Valkey frozen for a while."""
    figures = []
    for name, is_away in (("steady", False), ("Valkey frozen amid it", True)):
        key = await asyncio.to_thread(
            cluster.create_key, f"budget {name}", "--usd-per-month", str(BUDGET_USD)
        )
        first = await offer(cluster, key, 2.0, model="priced", max_tokens=20)
        if is_away:
            cluster.valkey.freeze()
        second = await offer(cluster, key, 10.0, model="priced", max_tokens=20)
        if is_away:
            cluster.valkey.thaw()
            await asyncio.to_thread(cluster.wait_for, "connected")
        spent = _join([first, second]).tokens * USD_PER_TOKEN
        note = f"${spent:.2f} of ${BUDGET_USD:.2f}"
        over = max(0.0, spent / BUDGET_USD - 1)
        figures.append(Figure(f"dollars over a budget, {name}", over, 0.0, note=note))
    return figures


async def measure_latency(cluster: Cluster) -> list[Figure]:
    """Return the p99 under each fault, over that of the same traffic around it."""
    limits = ("--requests-per-minute", "100000", "--usd-per-month", "1000")
    key = await asyncio.to_thread(cluster.create_key, "latency", *limits)
    faults: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "killed": (cluster.valkey.kill, lambda: _start_again(cluster)),
        "frozen": (cluster.valkey.freeze, cluster.valkey.thaw),
        "partitioned from one": (cluster.proxies[0].cut, cluster.proxies[0].heal),
    }
    await offer(cluster, key, 2.0)
    figures = []
    for name, (begin, end) in faults.items():
        ups, downs = [], []
        for _ in range(PAIRS):
            ups.append(await offer(cluster, key, PAIR_S))
            await asyncio.to_thread(begin)
            downs.append(await offer(cluster, key, PAIR_S))
            await asyncio.to_thread(end)
            await asyncio.to_thread(cluster.wait_for, "connected")
        up_ms, down_ms = (median(each.p99_ms for each in runs) for runs in (ups, downs))
        note = f"{down_ms:.1f} ms, {up_ms:.1f} without; medians of {PAIRS}"
        figures.append(Figure(f"p99, Valkey {name}", down_ms / up_ms, MOST_P99, "x", note))
        figures.append(Figure("  clients' errors", _join(ups + downs).errors, 0))
    return figures


async def measure_news(cluster: Cluster) -> list[Figure]:
    """Return how long a revoked key and a freeze take to the other machines."""
    return await asyncio.to_thread(_measure_news, cluster)


async def measure_costs(_: Cluster) -> list[Figure]:
    """Return the CPU that leases add to a request."""
    figures = []
    for per_s in (17, 50, 200):
        cost_us = await measure_cost(per_s)
        name = f"CPU of leases a request, {per_s} a second of a key and machine"
        figures.append(Figure(name, cost_us, MOST_COST_US, "us"))
    return figures


PARTS: dict[str, Callable[[Cluster], Awaitable[list[Figure]]]] = {
    "steady": measure_steady,
    "away": measure_away,
    "budget": measure_budget,
    "latency": measure_latency,
    "news": measure_news,
    "cost": measure_costs,
}


def main() -> None:
    """Print the figures; exit with 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="loadtests.cluster", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS, *BEHIND_ENVOY], metavar="PART")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chosen = options.parts or [*PARTS, *BEHIND_ENVOY]
    figures: list[Figure] = []
    with asyncio.Runner() as runner:
        if parts := [name for name in chosen if name in PARTS]:
            with running_cluster() as cluster:
                for name in parts:
                    figures += _show(runner.run(_measure(cluster, name)))
        if parts := [name for name in chosen if name in BEHIND_ENVOY]:
            figures += runner.run(_measure_behind_envoy(parts))
    if options.json:
        options.json.write_text(json.dumps([msgspec.to_builtins(each) for each in figures], indent=1))
    if not all(each.is_kept for each in figures):
        raise SystemExit(1)


async def _measure(cluster: Cluster, name: str) -> list[Figure]:
    return await PARTS[name](cluster)


async def _measure_behind_envoy(names: Sequence[str]) -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        async with running_behind_envoy(Path(folder)) as behind:
            for name in names:
                figures += _show(await BEHIND_ENVOY[name](behind))
    return figures


def _show(figures: list[Figure]) -> list[Figure]:
    for figure in figures:
        print(figure, flush=True)
    return figures


def _over_admission(name: str, traffic: Traffic, span_s: float, bar: float) -> Figure:
    """Return the share of what one machine would have let through that came on top of it."""
    allowed = LIMIT * (1 + span_s / 60)
    admitted = traffic.statuses[200]
    note = f"{admitted} of {traffic.statuses.total()} answered, one machine: {allowed:.0f}"
    return Figure(name, max(0.0, admitted / allowed - 1), bar, note=note)


def _start_again(cluster: Cluster) -> None:
    cluster.valkey.start_again()
    cluster.wait_for("connected")


def _join(traffic: Sequence[Traffic]) -> Traffic:
    statuses: Counter[int] = Counter()
    for each in traffic:
        statuses += each.statuses
    latencies = [latency for each in traffic for latency in each.latencies_s]
    return Traffic(statuses, latencies, sum(each.tokens for each in traffic))


def _measure_news(cluster: Cluster) -> list[Figure]:
    first, *others = cluster.gateways
    revoked, frozen = [], []
    for number in range(5):
        name = f"news {number}"
        key = cluster.create_key(name)
        bearer = {"authorization": f"Bearer {key}"}
        listed = stepdown(first.home, "keys", "list").stdout.splitlines()
        [line] = [each for each in listed if name in each]
        stepdown(first.home, "keys", "revoke", line.split()[0])
        revoked.append(
            _time_until(
                lambda bearer=bearer: all(  # type: ignore[misc]
                    each.ask("GET", "/v1/models", headers=bearer).status == 401 for each in others
                )
            )
        )
        stepdown(first.home, "tasks", "freeze", "--all")
        frozen.append(_time_until(lambda: all(each.status()["freezes"] for each in others)))
        stepdown(first.home, "tasks", "unfreeze", "--all")
        _time_until(lambda: not any(each.status()["freezes"] for each in others))
    return [
        Figure("a revoked key is refused elsewhere, at most after", max(revoked), 1.0, "s"),
        Figure("a freeze holds elsewhere, at most after", max(frozen), 1.0, "s"),
    ]


def _time_until(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not condition():
        time.sleep(0.01)
    return time.monotonic() - began


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
