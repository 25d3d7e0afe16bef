"""The processes of a gateway: those of shared services are there where these are named, and only there."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from gateway.processes.child_plans import plan_children
from gateway.settings import read_settings

ALONE = ["worker 0", "admin plane", "learner", "model host"]


def list_children(**variables: str) -> list[str]:
    settings = read_settings(variables)
    with ExitStack() as stack:
        public, admin = (stack.enter_context(socket.socket()) for _ in range(2))
        return [child.name for child in plan_children(settings, variables, [public], admin, [])]


def test_a_machine_alone_has_no_process_for_others() -> None:
    assert list_children() == ALONE


def test_what_is_shared_has_a_process_each() -> None:
    shared = list_children(
        STEPDOWN_STATE_URL="redis://valkey",
        STEPDOWN_REGISTRY_STORAGE="s3://bucket/models",
        STEPDOWN_HARVEST_PARTS="s3://bucket/rows",
    )

    assert sorted(set(shared) - set(ALONE)) == ["shared state", "shipper", "version puller"]
