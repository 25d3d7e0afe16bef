"""A real `stepdown serve` process tree, for tests of the whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from gateway.ipc.child_process import end_process
from gateway.store.home import Home
from gateway.store.run_file import read_run_file
from tests.api.site_server import CHAT, HttpAnswer, ask_on, chat_body
from tests.support.waiting import PATIENCE_S, wait_for

ROOT = Path(__file__).parents[2]
UNHURRIED = {"STEPDOWN_SPECIALISTS_BUDGET_MS": "15000"}
"""The longest budget there is: on a busy machine a draft must not be late where lateness is not tested."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return our variables without those that configure stepdown or name a teacher, with `more` on top."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("STEPDOWN_", "OPENAI_"))
    }
    return {**ours, "STEPDOWN_HOME": str(home), **more}


def stepdown(
    home: Path, *words: str, cwd: str | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        env={"PYTHONPATH": str(ROOT), **environment(home, **more)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


class RunningGateway:
    """The supervisor and its children. `url` is without `/v1`, `base_url` with it."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.home = home
        self.process = process
        self._log = log
        run = read_run_file(Home(home))
        self.url, self.admin_url = run.url, run.admin_url
        self.base_url = f"{run.url}/v1"
        self.port = int(run.url.rpartition(":")[2])

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """Send one request on a connection of its own."""
        return _fetch(self.port, method, path, body, headers)

    def chat(self, headers: Mapping[str, str] | None = None, **fields: object) -> HttpAnswer:
        """Ask for a chat completion."""
        return self.ask("POST", CHAT, chat_body(**fields), headers)

    def ask_admin(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """Send one request to the admin plane."""
        return _fetch(int(self.admin_url.rpartition(":")[2]), method, path, headers=headers)

    def status(self) -> dict[str, Any]:
        """Return what the admin plane reports."""
        return dict(json.loads(self.ask_admin("GET", "/status").body))

    def child(self, module: str) -> int | None:
        """Return the process id of a child by its module; None while it is being restarted."""
        return next((pid for pid, name in children(self.process.pid).items() if name == module), None)

    def kill(self, module: str) -> int:
        """SIGKILL a child and return its process id."""
        pid = wait_for(lambda: self.child(module), f"no {module} runs")
        os.kill(pid, signal.SIGKILL)
        return pid

    def log(self) -> str:
        """Return the output so far."""
        return self._log.read_text()


def children(pid: int) -> dict[int, str]:
    """Return process id -> module of the children of `pid`, zombies left out."""
    found = {}
    for child in _child_ids(pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if "-m" in words:
            found[int(child)] = words[words.index("-m") + 1]
    return found


def _child_ids(pid: int) -> list[str]:
    found: list[str] = []
    # A child belongs to the thread that started it; threads come and go.
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += thread.read_text().split()
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def gateway_process(home: Path, *flags: str, **more: str) -> Iterator[RunningGateway]:
    """Run `stepdown serve` on free ports until the block ends; `more` are environment variables.

    Drafts have the longest budget unless `more` sets another.
    """
    home.mkdir(parents=True, exist_ok=True)
    log = home.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--port", "0", "--admin-port", "0", *flags],
            env=environment(home, **UNHURRIED | more),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: Home(home).run_file.exists() or process.poll() is not None, "the gateway is slow")
        assert process.poll() is None, log.read_text()
        yield RunningGateway(home, process, log)
    finally:
        end_process(process, PATIENCE_S)
    assert "Traceback" not in log.read_text(), log.read_text()


def _fetch(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpAnswer:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        return ask_on(connection, method, path, body, dict(headers or {}))
    finally:
        connection.close()
