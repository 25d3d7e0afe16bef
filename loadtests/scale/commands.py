"""What Valkey does for machines at rest, and for machines whose keys have limits."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

import msgspec

from gateway.demo.stack import Stack
from tests.support.valkey import RunningValkey, running_valkey

MACHINES = 2
SETTLE_S = 3.0
PAUSE_S = 0.02
"""Between two requests to one machine: some 40 per second."""
BODY = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}'


class Commands(msgspec.Struct, frozen=True, kw_only=True):
    """Per second: commands, those of scripts among them, and CPU. Each per machine."""

    at_rest: float
    with_limits: float
    requests_per_s: float
    """Of all machines together, while limits were in use."""
    valkey_us: float
    """At rest."""


def measure_commands(seconds: float) -> Commands:
    """Watch two gateways on one Valkey for `seconds` at rest, and as long at work."""
    environment = {"STEPDOWN_LEARN_ENABLED": "false"}
    with running_valkey() as valkey, ExitStack() as stack:
        environment["STEPDOWN_STATE_URL"] = valkey.url
        machines = [
            stack.enter_context(Stack(is_open=False, environment=environment)) for _ in range(MACHINES)
        ]
        time.sleep(SETTLE_S)
        _, at_rest, valkey_us = _watch(valkey, lambda: _rest(seconds))
        key = _create_key(machines[0])
        time.sleep(SETTLE_S)
        answers, with_limits, _ = _watch(valkey, lambda: _ask(machines, key, seconds))
    return Commands(
        at_rest=at_rest / MACHINES,
        with_limits=with_limits / MACHINES,
        requests_per_s=answers / seconds,
        valkey_us=valkey_us / MACHINES,
    )


def _watch(valkey: RunningValkey, act: Callable[[], int]) -> tuple[int, float, float]:
    """Return what `act` returns, and the commands and the CPU in microseconds of each second of it."""
    begun, commands, cpu_s = time.monotonic(), _count(valkey), _cpu_s(valkey)
    answers = act()
    seconds = time.monotonic() - begun
    return answers, (_count(valkey) - commands) / seconds, (_cpu_s(valkey) - cpu_s) / seconds * 1e6


def _count(valkey: RunningValkey) -> int:
    statistics = valkey.admin.info("commandstats")
    return sum(one["calls"] for name, one in statistics.items() if name != "cmdstat_info")


def _cpu_s(valkey: RunningValkey) -> float:
    cpu = valkey.admin.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def _rest(seconds: float) -> int:
    time.sleep(seconds)
    return 0


def _create_key(machine: Stack) -> str:
    command = [sys.executable, "-m", "gateway", "keys", "create", "--name", "app"]
    ended = subprocess.run(
        [*command, "--requests-per-minute", "100000"],
        env={**os.environ, "STEPDOWN_HOME": str(machine.home.folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.split()[-1]


def _ask(machines: list[Stack], key: str, seconds: float) -> int:
    """Ask all machines in turn; return the answers. Raises RuntimeError for one that is not good."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with ExitStack() as stack:
        connections = []
        for machine in machines:
            connections.append(http.client.HTTPConnection(urlsplit(machine.gateway_url).netloc, timeout=30))
            stack.callback(connections[-1].close)
        ends_at, answers = time.monotonic() + seconds, 0
        while time.monotonic() < ends_at:
            for connection in connections:
                connection.request("POST", "/v1/chat/completions", BODY, headers)
                response = connection.getresponse()
                if not response.read() or response.status != 200:
                    raise RuntimeError(f"a request was answered with {response.status}")
                answers += 1
            time.sleep(PAUSE_S)
    return answers
