"""A simulated teacher for all faults, and ways to ask a gateway that is in trouble."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.processes import RunningGateway
from tests.support.teacher import RunningTeacher, running_teacher

QUIET = {"STEPDOWN_LEARN_ENABLED": "false"}
"""Without the learner, where it plays no part: it costs a second of each start."""


@pytest.fixture(scope="module")
def running() -> Iterator[RunningTeacher]:
    with running_teacher({"ping": "pong and more"}) as teacher:
        yield teacher


def ask_often(gateway: RunningGateway, times: int = 20) -> list[int]:
    """Return the status of so many chat completions, each on a connection of its own."""
    return [gateway.chat(model="gpt-4o").status for _ in range(times)]
