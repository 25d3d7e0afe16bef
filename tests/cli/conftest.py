from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.processes import stepdown
from tests.support.teacher import RunningTeacher, running_teacher


class Command(Protocol):
    """Runs `stepdown WORDS` in an empty folder, with environment variables on top."""

    def __call__(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def command(home: Path, tmp_path: Path) -> Command:
    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return stepdown(home, *words, cwd=str(tmp_path), **more)

    return run


@pytest.fixture(scope="module")
def teacher() -> Iterator[RunningTeacher]:
    with running_teacher({"ping": "pong"}, api_key="sk-teacher") as teacher:
        yield teacher
