from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.teacher import answer
from tests.conformance.harness import Lab
from tests.conformance.ours import our_lab
from tests.conformance.teacher import teaching


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Our gateway before a teacher which answers by the question."""
    with teaching(answer) as teacher, our_lab(tmp_path_factory.mktemp("clients") / "home", teacher) as lab:
        yield lab
