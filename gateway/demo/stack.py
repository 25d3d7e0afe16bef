"""A real gateway in front of a simulated teacher, each in its own processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from gateway.demo.tickets import Pair
from gateway.errors import UpstreamError
from gateway.ipc.child_process import end_process
from gateway.policy.explanation import Explanation
from gateway.store.home import Home
from gateway.store.run_file import read_run_file

START_LIMIT_S = 30.0
STOP_LIMIT_S = 20.0
POLL_S = 0.02


class Stack:
    """Gateway and teacher on loopback: a context manager that stops what it started.

    `home` holds the gateway's state, a temporary folder unless given. `environment` is added to
    the gateway's, `policies` is a folder of policy files. Any client is admitted, or, unless `is_open`,
    holders of the gateway's keys.
    """

    def __init__(
        self,
        *,
        latency_ms: float = 0.0,
        model: str = "gpt-4o",
        home: Home | None = None,
        policies: Path | None = None,
        environment: Mapping[str, str] | None = None,
        is_open: bool = True,
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="stepdown-")
        self.home = home or Home(Path(self._scratch.name) / "home")
        self.model = model
        self.started_in_s = 0.0
        self._latency_ms = latency_ms
        self._flags = ["--open"] if is_open else []
        self._environment = dict(environment or {})
        if policies:
            self._environment["STEPDOWN_POLICIES_FOLDER"] = str(policies)
        self._processes: list[subprocess.Popen[str]] = []
        self.teacher_url = self.gateway_url = self.admin_url = ""

    def __enter__(self) -> Self:
        self.home.make()
        try:
            self._start_teacher()
            self._start_gateway()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def set_pairs(self, pairs: Iterable[Pair]) -> None:
        """Replace the answers of the teacher."""
        lines = b"".join(msgspec.json.encode(pair) + b"\n" for pair in pairs)
        _fetch(f"{self.teacher_url}/__teacher/pairs", "PUT", lines)

    def status(self) -> dict[str, Any]:
        """Return the report of the gateway's admin plane."""
        return dict(json.loads(_fetch(f"{self.admin_url}/status")))

    @property
    def gateway_pid(self) -> int:
        """The supervisor's process."""
        return read_run_file(self.home).pid

    def explain_newest(self, decision: str) -> Explanation | None:
        """Return why the newest request with that decision was answered so; None if there is none."""
        found = json.loads(_fetch(f"{self.admin_url}/admin/decisions?last=1&decision={decision}"))
        if not found:
            return None
        request_id = found[0]["row"]["request_id"]
        return msgspec.json.decode(_fetch(f"{self.admin_url}/admin/decisions/{request_id}"), type=Explanation)

    def wait_until_settled(self) -> dict[str, Any]:
        """Wait until every request so far is counted and on the disk; return the status."""
        while True:
            status = self.status()
            if not any(status["waiting"].values()):
                return status
            time.sleep(POLL_S)

    def wait_for_learner(self) -> None:
        """Wait until the learner has looked at every row harvested so far."""
        harvested = sum(self.wait_until_settled()["harvested"].values())
        while self.status()["learner"]["rows"] < harvested:
            time.sleep(POLL_S)

    def _start_teacher(self) -> None:
        teacher = self._spawn(
            "gateway.demo.teacher",
            ["--port", "0", "--latency-ms", str(self._latency_ms), "--model", self.model],
            {},
        )
        assert teacher.stdout is not None
        self.teacher_url = f"http://127.0.0.1:{json.loads(teacher.stdout.readline())['port']}"

    def _start_gateway(self) -> None:
        begun = time.monotonic()
        arguments = ["serve", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0", *self._flags]
        environment = {
            "STEPDOWN_HOME": str(self.home.folder),
            "OPENAI_BASE_URL": f"{self.teacher_url}/v1",
            "OPENAI_API_KEY": "simulated",
            **self._environment,
        }
        printed = self.home.folder / "serve.log"
        with printed.open("w") as log:
            gateway = self._spawn("gateway", arguments, environment, log=log)
        while not self.home.run_file.exists():
            if gateway.poll() is not None or time.monotonic() - begun > START_LIMIT_S:
                raise UpstreamError(f"the gateway did not start: {printed.read_text()[-2000:]}")
            time.sleep(POLL_S)
        run = read_run_file(self.home)
        self.gateway_url, self.admin_url = run.url, run.admin_url
        self.started_in_s = time.monotonic() - begun

    def _spawn(
        self, module: str, arguments: list[str], environment: dict[str, str], log: Any = None
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log or subprocess.PIPE,
            stderr=subprocess.STDOUT if log else None,
            env={**os.environ, **environment},
            text=True,
        )
        self._processes.append(process)
        return process

    def _stop(self) -> None:
        for process in reversed(self._processes):
            end_process(process, STOP_LIMIT_S)
            if process.stdout:
                process.stdout.close()
        self._processes.clear()
        self._scratch.cleanup()


def _fetch(url: str, method: str = "GET", body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, data=body, method=method)  # noqa: S310 - our own loopback address
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            return bytes(reply.read())
    except urllib.error.URLError as exc:
        raise UpstreamError(f"{url}: {exc}") from exc
