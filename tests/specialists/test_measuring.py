"""A real process measures a version, with the encoder that is packaged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.ipc.child_process import start_module
from gateway.specialists.learnt import write_learnt_texts
from gateway.specialists.measuring import MeasuredVersion, measure_footprint, mix_texts
from tests.support.waiting import PATIENCE_S


def job(folder: Path, **script: Any) -> MeasuredVersion:
    (folder / "script.json").write_text(json.dumps(script))
    return MeasuredVersion(
        runtime="scripted",
        folder=str(folder),
        texts=["where is my card", "is my card lost"],
        encoder="minilm",
        encoder_options={},
        models=str(folder),
        memory_mb=256,
    )


def test_time_and_memory_of_a_version_are_measured(tmp_path: Path) -> None:
    takes = measure_footprint(job(tmp_path, delay_ms=20.0))

    assert takes is not None
    assert takes.p50_ms >= 20.0
    assert takes.p99_ms >= takes.p50_ms
    assert takes.load_ms >= 20.0
    assert takes.cpu_ms < 20.0  # it sleeps
    assert 40.0 < takes.memory_mb < 1_000.0  # Python and the encoder


def test_the_texts_are_halves_of_lessons_that_were_not_learnt() -> None:
    lessons = ["where is my card", "is my card lost"]
    assert mix_texts(lessons) == ["where is card lost", "is my my card"]
    assert mix_texts(["word"]) == ["word word"]
    commands = ["play jazz", "play rock", "stop"]
    assert mix_texts(commands, commands.__contains__) == ["rock play", "play stop", "stop jazz"]


def test_a_text_that_the_version_refuses_is_left_out(tmp_path: Path) -> None:
    assert measure_footprint(job(tmp_path, faults={"is my my card": "refuse"})) is not None


def test_a_text_that_mixing_makes_a_lesson_again_is_not_drafted_for(tmp_path: Path) -> None:
    """Its draft lies ready: two-word commands looked free."""
    write_learnt_texts(["where is card lost", "is my my card"], tmp_path)
    assert measure_footprint(job(tmp_path, faults={"where is card lost": "die"})) is not None


def test_a_version_that_dies_is_not_measured(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert measure_footprint(job(tmp_path, faults={"where is card lost": "die"})) is None
    assert "could not be measured" in caplog.text


def test_a_version_that_drafts_nothing_is_not_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    faults = dict.fromkeys(["where is card lost", "is my my card"], "refuse")
    assert measure_footprint(job(tmp_path, faults=faults)) is None
    assert "Traceback" not in capfd.readouterr().err


def test_the_measuring_process_ends_with_its_parent(tmp_path: Path) -> None:
    hanging = msgspec.json.encode(job(tmp_path, faults={"where is card lost": "hang"}))
    child = start_module("gateway.specialists.measuring", [], stdout=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(hanging + b"\n")
    child.stdin.close()
    assert child.wait(PATIENCE_S) != 0
    assert child.stdout is not None
    child.stdout.close()
