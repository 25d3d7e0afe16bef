"""Measures a small decoder: its speed, its memory, and its effect on the gateway.

`python -m loadtests.genai --base FOLDER` takes the base in the models folder FOLDER (see
`stepdown models pull`) with adapters of random weights: they cost as much as trained ones. Inputs make
prompts of 64 tokens, answers have 32. Figures mean something on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np
from rich.console import Console

from gateway.core import DraftRequest
from gateway.demo.stack import Stack
from gateway.demo.tickets import generate_tickets
from gateway.errors import SpecialistError
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.specialists import knn
from gateway.specialists.base import NullListener
from gateway.specialists.client.client import HostClient
from gateway.specialists.encoders import minilm
from gateway.specialists.engine import base_model
from gateway.specialists.engine.client import EngineClient
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.engine.prompt import Prompter
from gateway.specialists.runtimes import genai
from gateway.store.home import Home
from gateway.store.run_file import read_run_file
from loadtests.support.chat_requests import make_questions
from loadtests.support.genai_figures import ADAPTERS, AT_ONCE, Figures, build_table
from loadtests.support.genai_prompts import ANSWER_TOKENS, STORY, make_input
from loadtests.support.generator import Generator, Job
from loadtests.support.processes import child_named, rss_mb
from loadtests.support.pulled_base import find_base
from tests.specialists.engine.bases import write_adapter

MEMORY_MB = 1_024
ALONE, ROUNDS = 40, 5
PROXIED = 6_000
BUDGET_S = 15.0
WEAK = 0.003
"""Of the adapters' weights: answers then do not end early."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.genai", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="a folder of models with one base")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="stepdown-") as scratch:
        figures = measure(options.base.resolve(), Path(scratch))
    encoded = msgspec.json.format(msgspec.json.encode(figures), indent=2)
    if options.json:
        options.json.write_bytes(encoded)
    print(encoded.decode())
    Console().print(build_table(figures))


def measure(models: Path, scratch: Path) -> Figures:
    """Return the figures of the base in the folder `models`."""
    load = round(os.getloadavg()[0], 1)
    name, manifest, folder = find_base(models)
    files = [scratch / f"{number}.onnx_adapter" for number in range(ADAPTERS)]
    adapters = [write_adapter(folder, file, seed, strength=WEAK) for seed, file in enumerate(files)]
    text = make_input(Prompter(folder))
    with contextlib.closing(EnginePool(models, MEMORY_MB)) as engines:
        engine = engines.open_engine(name, base_model.base_digest(manifest))
        numbers = _speed(engine, adapters, text)
    version = _version(scratch, adapters[0], name, base_model.base_digest(manifest))
    with Generator() as generator, _stage(models) as stack:
        beside_host = asyncio.run(_beside_host(stack, generator, version, text))
    return Figures(load_average=load, **numbers, **beside_host)  # type: ignore[arg-type]


def _speed(engine: EngineClient, adapters: list[Path], text: str) -> dict[str, object]:
    def drafted(adapter: Path, most: int = ANSWER_TOKENS) -> float:
        began = time.perf_counter()
        prediction = engine.draft(
            adapter, DraftRequest(text=text), NullListener(), max_new_tokens=most, hold_back=None
        )
        assert prediction.completion_tokens == most, "random weights ended an answer early"
        return time.perf_counter() - began

    for adapter in adapters:
        drafted(adapter)
    first = [drafted(adapters[i % ADAPTERS], 1) for i in range(ALONE)]
    whole = [drafted(adapters[i % ADAPTERS]) for i in range(ALONE)]
    rates = {count: _rates(count, drafted, adapters) for count in AT_ONCE}
    assert engine.pid is not None
    return {
        "writing_per_s": {count: rate[0] for count, rate in rates.items()},
        "whole_per_s": {count: rate[1] for count, rate in rates.items()},
        "first_token_p50_ms": _quantile_ms(first, 0.5),
        "first_token_p99_ms": _quantile_ms(first, 0.99),
        "answer_p50_ms": _quantile_ms(whole, 0.5),
        "answer_p99_ms": _quantile_ms(whole, 0.99),
        "rss_mb": rss_mb(engine.pid),
    }


def _rates(count: int, drafted: Callable[[Path, int], float], adapters: list[Path]) -> tuple[float, float]:
    """Return the tokens per second of batches of `count` drafts: without and with reading the prompts.

    The time without is the difference between whole answers and answers of one token.
    """

    def batch_s(pool: ThreadPoolExecutor, most: int) -> float:
        # While the engine is busy with another adapter they queue and become one batch.
        busy = pool.submit(drafted, adapters[1], most)
        work = [pool.submit(drafted, adapters[0], most) for _ in range(count)]
        busy.result()
        began = time.perf_counter()
        for one in work:
            one.result()
        return time.perf_counter() - began

    with ThreadPoolExecutor(count + 1) as pool:
        short = statistics.median(batch_s(pool, 1) for _ in range(ROUNDS))
        whole = statistics.median(batch_s(pool, ANSWER_TOKENS) for _ in range(ROUNDS))
    return count * (ANSWER_TOKENS - 1) / (whole - short), count * ANSWER_TOKENS / whole


async def _beside_host(
    stack: Stack, generator: Generator, version: Path, text: str
) -> dict[str, float | int]:
    """Compare the gateway with an idle host and with one that drafts as fast as it can."""
    client = HostClient(stack.home.host_socket)
    await client.open(10)
    await client.load("story", 1, version)
    found: dict[str, float | int] = {}
    for key, value in (await asyncio.to_thread(_felt, stack, generator)).items():
        found[f"idle_{key}"] = value
    async with _saturated(client, text) as drafts:
        found |= await asyncio.to_thread(_felt, stack, generator)
        found["drafts_meanwhile"] = len(drafts)
    await client.close()
    return found


@contextlib.asynccontextmanager
async def _saturated(client: HostClient, text: str) -> AsyncIterator[list[float]]:
    """Keep 16 drafts in work; yield the growing list of their latencies."""
    latencies: list[float] = []
    busy = asyncio.Event()

    async def ask() -> None:
        while True:
            with contextlib.suppress(SpecialistError):
                draft = await client.draft("story", 1, DraftRequest(text=text), BUDGET_S)
                latencies.append(draft.latency_ms)
                busy.set()

    workers = [asyncio.create_task(ask()) for _ in range(max(AT_ONCE))]
    await asyncio.wait_for(busy.wait(), 2 * BUDGET_S)
    yield latencies
    for worker in workers:
        worker.cancel()
    await asyncio.wait(workers)


def _felt(stack: Stack, generator: Generator) -> dict[str, float]:
    """Return the waiting times of the gateway's clients, one request at a time."""
    port = urlsplit(stack.gateway_url).port
    assert port is not None
    small = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    lag = generator.run(Job(port=port, requests=[small], in_flight=1, count=PROXIED))
    proxied = generator.run(
        Job(
            port=port,
            requests=make_questions(generate_tickets(PROXIED, seed=1), "gpt-4o"),
            in_flight=1,
            count=PROXIED,
        )
    )
    return {
        "lag_p99_ms": _quantile_ms([ms / 1_000 for some in lag.latencies_ms.values() for ms in some], 0.99),
        "proxied_p99_ms": _quantile_ms(
            [ms / 1_000 for some in proxied.latencies_ms.values() for ms in some], 0.99
        ),
    }


@contextlib.contextmanager
def _stage(models: Path) -> Iterator[Stack]:
    """Run a gateway whose host can reach the base; its learner sleeps."""
    with tempfile.TemporaryDirectory(prefix="stepdown-") as folder:
        home = Home(Path(folder) / "home")
        home.make()
        home.models.symlink_to(models, target_is_directory=True)
        with Stack(home=home, environment={"STEPDOWN_LEARN_INTERVAL_S": "3600"}) as stack:
            assert child_named(read_run_file(stack.home).pid, "gateway.specialists.host.process")
            yield stack


def _version(scratch: Path, adapter: Path, base: str, digest: str) -> Path:
    """Publish `adapter` as version 1 of the task "story"; return its folder."""
    encoder = minilm.create()
    source = scratch / "version"
    source.mkdir()
    (source / genai.ADAPTER).write_bytes(adapter.read_bytes())
    genai.write_card(genai.Card(base=base, base_digest=digest, max_new_tokens=ANSWER_TOKENS), source)
    knn.write_neighbors(np.asarray(encoder.encode(STORY), np.float32)[None], source)
    registry = Registry(scratch / "registry")
    manifest = Manifest(
        task="story",
        version=1,
        runtime="genai",
        encoder=encoder.name,
        created_at=0.0,
        recipe="none",
        seed=0,
        rows=1,
        answers=1,
    )
    registry.publish(manifest, source)
    return registry.folder("story", 1)


def _quantile_ms(seconds: list[float], share: float) -> float:
    return float(np.quantile(seconds, share)) * 1_000


if __name__ == "__main__":
    main()
