from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from gateway.demo.run import read_traffic, run_demo
from gateway.errors import ConfigError

GOOD = '{"messages": [{"role": "user", "content": "hi"}], "answer": "ho"}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "traffic.jsonl"


def test_pairs_are_read_in_order_and_blank_lines_skipped(file: Path) -> None:
    file.write_text(f"{GOOD}\n\n{GOOD.replace('ho', 'hu')}\n")

    pairs = read_traffic(file)

    assert [(pair.text, pair.answer) for pair in pairs] == [("hi", "ho"), ("hi", "hu")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Input data was truncated"),
        ("[]", "Expected `object`"),
        ('{"messages": []}', "missing required field `answer`"),
        ('{"answer": "x"}', "missing required field `messages`"),
        ('{"messages": [1], "answer": "x"}', "Expected `object`"),
        ('{"messages": [], "answer": "x"}', "`messages` is empty"),
        ('{"messages": [{"role": "user"}], "answer": "x"}', "content"),
    ],
)
def test_a_bad_line_is_named_with_file_and_number(file: Path, line: str, message: str) -> None:
    file.write_text(f"{GOOD}\n{line}\n")

    with pytest.raises(ConfigError) as exc:
        read_traffic(file)

    assert str(exc.value).startswith(f"{file}:2: ")
    assert message in str(exc.value)


def test_bytes_that_are_no_text_are_named_too(file: Path) -> None:
    file.write_bytes(GOOD.replace("ho", "h\xe9").encode("latin-1") + b"\n")

    with pytest.raises(ConfigError, match=":1: "):
        read_traffic(file)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_file_without_pairs_is_refused(file: Path, text: str) -> None:
    file.write_text(text)

    with pytest.raises(ConfigError, match="no pairs in it"):
        read_traffic(file)


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"traffic\.jsonl: No such file"):
        read_traffic(file)


def test_the_demo_comes_to_its_end_and_counts_every_request(file: Path) -> None:
    file.write_text(f"{GOOD}\n" * 12)
    printed = StringIO()

    assert run_demo(file, Console(file=printed, width=80)) == 0

    assert "requests: 12, none failed" in printed.getvalue()
    assert "stepdown why: the last answer that was escalated" in printed.getvalue()
