"""A gateway with two teachers loses neither an answer nor its first teacher."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import QUIET, ask_often
from tests.support.faulty_teacher import FaultyTeacher, Mode, faulty_teacher, teachers_file
from tests.support.processes import RunningGateway, gateway_process
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def teachers() -> Iterator[tuple[FaultyTeacher, FaultyTeacher]]:
    with faulty_teacher() as first, faulty_teacher() as second:
        yield first, second


@pytest.fixture(scope="module")
def gateway(
    teachers: tuple[FaultyTeacher, FaultyTeacher], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("teachers")
    file = folder / "stepdown.toml"
    of_the_second = "max_in_flight = 64\n"
    file.write_text(teachers_file(*teachers, first_byte_timeout_s=0.3) + of_the_second)
    with gateway_process(folder / "home", "--open", STEPDOWN_CONFIG=str(file), **QUIET) as gateway:
        yield gateway


def served_by(gateway: RunningGateway) -> str | None:
    return gateway.chat(model="gpt-4o").header("x-stepdown-served-by")


def is_back(gateway: RunningGateway) -> bool:
    return served_by(gateway) == "first"


@pytest.mark.parametrize("fault", ["killed", "stalled", "limited", "half broken"])
def test_no_client_sees_that_the_first_teacher_fails(
    gateway: RunningGateway, teachers: tuple[FaultyTeacher, FaultyTeacher], fault: Mode
) -> None:
    first, _ = teachers
    wait_for(lambda: is_back(gateway), "the first teacher does not answer")
    first.become(fault)
    try:
        assert set(ask_often(gateway)) == {200}
    finally:
        first.become("well")

    wait_for(lambda: is_back(gateway), "the first teacher is not asked again")


def test_what_the_teacher_keeps_fails_with_it(
    gateway: RunningGateway, teachers: tuple[FaultyTeacher, FaultyTeacher]
) -> None:
    """A stored answer at another teacher could not be found again."""
    first, second = teachers
    wait_for(lambda: is_back(gateway), "the first teacher does not answer")
    first.become("killed")
    before = second.posts
    try:
        assert gateway.chat(model="gpt-4o", store=True).status == 502
        assert gateway.ask("GET", "/v1/files").status == 502
    finally:
        first.become("well")
    assert second.posts == before


def test_what_keeps_nothing_does_not(
    gateway: RunningGateway, teachers: tuple[FaultyTeacher, FaultyTeacher]
) -> None:
    first, _ = teachers
    wait_for(lambda: is_back(gateway), "the first teacher does not answer")
    first.become("killed")
    try:
        models = gateway.ask("GET", "/v1/models")
        text = gateway.ask("POST", "/v1/completions", b'{"model": "m", "prompt": "x"}')
    finally:
        first.become("well")

    assert (models.status, text.status) == (200, 200)
    assert text.header("x-stepdown-served-by") == "second"


def test_status_and_metrics_name_each_teacher(gateway: RunningGateway) -> None:
    served_by(gateway)

    first, second = gateway.status()["teachers"]

    assert (first["name"], second["name"]) == ("first", "second")
    assert ("limit" in first, second["limit"], second["queued"]) == (False, 64, 0)
    assert first["retirements"] == {}


def test_a_key_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "stepdown.toml"
    file.write_text('[[teachers]]\nname = "a"\ncredential = "NO_SUCH_KEY"\n')

    with (
        pytest.raises(AssertionError, match="does not hold its key in NO_SUCH_KEY"),
        gateway_process(tmp_path / "home", STEPDOWN_CONFIG=str(file)),
    ):
        pass
