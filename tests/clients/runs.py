"""Runs a client's script against the gateway and returns the result of each scenario."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from tests.conformance.harness import Harness
from tests.support.waiting import PATIENCE_S

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEY = "sk-conformance"


class Client(msgspec.Struct, frozen=True):
    """One client: its script, and the package that the script needs."""

    name: str
    package: str
    scenarios: frozenset[str]

    @property
    def is_of_node(self) -> bool:
        """Whether its script runs in Node."""
        return (HERE / "node" / f"{self.name}.js").exists()

    @property
    def absence(self) -> str:
        """The reason why it cannot run here; empty if it can."""
        if not self.is_of_node:
            return "" if find_spec(self.package) else f"{self.package} is not installed"
        if shutil.which("node") is None:
            return "node is not installed"
        is_there = (HERE / "node" / "node_modules" / self.package).exists()
        return "" if is_there else "its packages are not installed: make test installs them"

    def run(self, harness: Harness, model: str, scenarios: Iterable[str]) -> dict[str, Any]:
        """Return what the client received, by scenario, and `ended_at`, the script's last monotonic second.

        `local.` before a scenario asks the specialist.
        """
        if self.is_of_node:
            command = ["node", f"{self.name}.js"]
        else:
            command = [sys.executable, "-W", "ignore", "-m", f"tests.clients.scripts.{self.name}"]
        base_url = f"http://{harness.address[0]}:{harness.address[1]}{harness.prefix}"
        run = subprocess.run(
            [*command, *scenarios],
            cwd=HERE / "node" if self.is_of_node else ROOT,
            env={
                **_environment(),
                "CLIENT_BASE_URL": base_url,
                "CLIENT_KEY": KEY,
                "CLIENT_MODEL": model,
                "CLIENT_LOCAL": harness.local,
            },
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,  # litellm alone takes 7 s of CPU to be imported
            check=False,
        )
        assert run.returncode == 0, f"{run.stdout[-2000:]}\n{run.stderr[-4000:]}"
        results: dict[str, Any] = json.loads(run.stdout)
        return results


def _environment() -> dict[str, str]:
    """Return our variables without those that would lead a client elsewhere."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "LANGSMITH_"))
    }
