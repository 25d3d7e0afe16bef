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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("local --data {rows} --lessons 1 --recipe spam", "unknown recipe 'spam'; known: head"),
        ("local --data {rows} --lessons 0", "argument --lessons: must be at least 1, not 0"),
        ("local --data {rows} --lessons 2", "rows has 2 rows: after the lessons none is left to ask"),
        ("local --data {rows} --specialists 0", "argument --specialists: must be at least 1, not 0"),
        ("worth", "nothing to measure: say --data or --decoder"),
        ("worth --data {rows}::spam", "unknown recipe 'spam'; known: head"),
        ("worth --data {rows} --texts 0", "argument --texts: must be at least 1, not 0"),
        ("genai --base {empty}", "no base model in {empty}: `stepdown models pull"),
        ("llamacpp --base {empty} --gguf x", "no base model in {empty}: `stepdown models pull"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(words: str, said: str, tmp_path: Path) -> None:
    row = b'{"messages": [{"role": "user", "content": "hi"}], "answer": "hello"}\n'
    (tmp_path / "rows.jsonl").write_bytes(2 * row)
    places = {"rows": tmp_path / "rows.jsonl", "empty": tmp_path / "nothing"}

    refused = run(*(word.format(**places) for word in words.split()))

    assert refused.returncode != 0
    assert said.format(**places) in refused.stderr.splitlines()[-1]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"loadtests.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
