"""What teachers say of their models' last days reaches status, metrics and the list."""

from __future__ import annotations

import logging
from datetime import date
from pathlib import Path

import msgspec
import pytest

from gateway.core import Secret
from gateway.processes.retirement_watch import RetirementWatch
from gateway.processes.teacher_check import TeacherCheck
from gateway.processes.teachers import create_teachers
from gateway.settings import Settings, Upstream
from gateway.store.retirements import read_retirements

DAY = date(2026, 12, 11)
SAID = TeacherCheck(name="teacher", base_url="", models=2, retirements={"gpt-4o": DAY})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home_folder=str(tmp_path), upstream=Upstream(api_key=Secret("sk")))


async def test_a_retirement_is_told_once_and_kept(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    teachers = create_teachers(settings)

    async def check(_: Settings) -> list[TeacherCheck]:
        return [SAID]

    watch = RetirementWatch(settings, teachers, check)
    await watch.look()
    await watch.look()

    assert caplog.text.count("retires the model gpt-4o on 2026-12-11") == 1
    assert teachers[0].retirements == {"gpt-4o": DAY}
    assert read_retirements(settings.home) == {"teacher": {"gpt-4o": DAY}}


async def test_a_teacher_that_does_not_answer_says_nothing_new(settings: Settings) -> None:
    teachers = create_teachers(settings)
    answers = [SAID, msgspec.structs.replace(SAID, models=None, retirements={}, problem="no answer")]

    async def check(_: Settings) -> list[TeacherCheck]:
        return [answers.pop(0)]

    watch = RetirementWatch(settings, teachers, check)
    await watch.look()
    await watch.look()

    assert teachers[0].retirements == {"gpt-4o": DAY}


async def test_nothing_is_asked_in_the_name_of_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(_: Settings) -> list[TeacherCheck]:
        raise AssertionError("there is no key to ask with")

    monkeypatch.setattr("gateway.processes.retirement_watch.FIRST_AFTER_S", 0)
    watch = RetirementWatch(Settings(home_folder=str(tmp_path)), [], check)
    watch.start()
    await watch.stop()
