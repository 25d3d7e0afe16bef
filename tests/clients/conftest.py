from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.teacher import answer
from tests.conformance.harness import Harness
from tests.conformance.ours import our_harness
from tests.conformance.teacher import serve_teacher


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """Our gateway in front of a teacher that answers by the question."""
    with (
        serve_teacher(answer) as teacher,
        our_harness(tmp_path_factory.mktemp("clients") / "home", teacher) as harness,
    ):
        yield harness
