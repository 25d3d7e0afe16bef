from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.teacher import RunningTeacher, running_teacher

TEACHER_KEY = "sk-teacher"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningTeacher]:
    """A teacher that accepts TEACHER_KEY only, for all tests of a module."""
    with running_teacher(api_key=TEACHER_KEY) as teacher:
        yield teacher


@pytest.fixture
def teacher(running: RunningTeacher) -> Iterator[RunningTeacher]:
    """The module's teacher, with no record of other tests."""
    running.control.forget()
    yield running
    running.control.latency_ms = 0
    running.control.api_key = TEACHER_KEY


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder for the module's gateway."""
    return tmp_path_factory.mktemp("flow") / "home"
