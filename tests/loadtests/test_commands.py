"""Every load test is a command that says what it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.stem for path in (ROOT / "loadtests").glob("*.py") if 'if __name__ == "__main__"' in path.read_text()
)


@pytest.mark.parametrize("module", MODULES)
def test_help_is_a_text(module: str) -> None:
    told = run(module, "--help")

    assert (told.returncode, told.stdout.startswith("usage: ")) == (0, True), told.stderr


@pytest.mark.parametrize("module", ["faults", "teachers"])
def test_an_unknown_part_is_named_beside_those_that_there_are(module: str) -> None:
    refused = run(module, "nothing")

    assert refused.returncode == 2
    assert "unknown: nothing; known: " in refused.stderr.splitlines()[-1]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"loadtests.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
