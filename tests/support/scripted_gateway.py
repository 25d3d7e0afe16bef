"""A real gateway whose certified specialist answers from a script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.registry.models import Registry
from gateway.specialists.runtimes.scripted import Script
from gateway.store.home import Home
from gateway.store.state import State, open_state
from tests.specialists.hosting import publish_script
from tests.support.builders import certified
from tests.support.processes import RunningGateway, gateway_process
from tests.support.waiting import wait_for

SCOPE = "tenant:open"
"""The tenant of every caller of `stepdown serve --open`."""


def put_task(state: State, task: str, scope: str = SCOPE, template_text: str = "template") -> None:
    """Add a task as if it had been adopted."""
    state.tasks.put(
        task,
        scope=scope,
        contract_hash="contract",
        template_text=template_text,
        vector=b"\0" * 4 * 384,
        model="gpt-4o",
    )


@contextmanager
def scripted_gateway(
    home: Path, script: Script, *flags: str, scope: str = SCOPE, task: str = "support", **environment: str
) -> Iterator[RunningGateway]:
    """Run `stepdown serve` with the live task `task` (model `stepdown/<task>`) until the block ends."""
    with open_state(Home(home)) as state:
        publish_script(Registry(Home(home).registry), home / "script", script, task=task)
        state.certifications.put(certified(task))
        put_task(state, task, scope)
    with gateway_process(home, *flags, STEPDOWN_LEARN_ENABLED="false", **environment) as gateway:
        wait_for(lambda: gateway.status()["specialists_ready"], "the model host is not ready")
        yield gateway
