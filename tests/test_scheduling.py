"""What runs together on several cores, driven through xdist's own scheduler."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from xdist.remote import Producer

from tests.support.scheduling import TESTS, FileScheduling, group_of, place_of

CHEAP, TRAINING, ALSO_TRAINING, WHOLE = (
    "tests/wire/test_sse.py",
    "tests/distill/test_export_encoder.py",
    "tests/specialists/engine/test_pool.py",
    "tests/flow/test_learning.py",
)


class RecordingNode:
    """A process of pytest-xdist that runs nothing: it holds what it was sent."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.config = SimpleNamespace(rootpath=TESTS.parent)
        self.shutting_down = False
        self.sent: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def test_a_file_and_all_that_trains_stay_in_one_process(pytestconfig: pytest.Config) -> None:
    """The ids are as pytest gives them: xdist's own scheduler found no groups in them."""
    ids = [f"{file}::test_{n}" for file in (TRAINING, ALSO_TRAINING, WHOLE, CHEAP) for n in range(3)]
    nodes = [RecordingNode("gw0"), RecordingNode("gw1")]
    scheduler = _make_scheduler(pytestconfig, nodes, ids)

    ran: dict[str, set[str]] = {}
    while any(node.sent for node in nodes):
        for node in nodes:
            if node.sent:
                at = node.sent.pop(0)
                ran.setdefault(group_of(TESTS.parent / ids[at].split("::")[0]), set()).add(node.gateway.id)
                scheduler.mark_test_complete(node, at)

    assert len(ran) == 3
    assert all(len(names) == 1 for names in ran.values()), ran


def test_what_trains_is_first_then_whole_gateways() -> None:
    files = [TESTS.parent / file for file in (CHEAP, WHOLE, TRAINING)]

    assert [file.relative_to(TESTS.parent) for file in sorted(files, key=place_of)] == [
        Path(TRAINING),
        Path(WHOLE),
        Path(CHEAP),
    ]


def _make_scheduler(config: pytest.Config, nodes: list[RecordingNode], ids: list[str]) -> Any:
    options = {**vars(config.option), "dist": "loadgroup", "tx": ["popen"] * len(nodes)}
    asked = SimpleNamespace(
        option=SimpleNamespace(**options),
        rootpath=TESTS.parent,
        getvalue=options.get,
        getoption=options.get,
    )
    log = Producer("scheduling")
    scheduler: FileScheduling = config.hook.pytest_xdist_make_scheduler(config=asked, log=log)
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, ids)
    scheduler.schedule()
    return scheduler
