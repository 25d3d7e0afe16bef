from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.demo.stack import Stack
from gateway.demo.tickets import generate_tickets
from gateway.distill.recipes import head
from gateway.store.home import Home
from loadtests.support.fleet import http_requests, make_fleet, train_specialist
from loadtests.support.generator import Generator, Job

PROMPTS = ("Sort the ticket. Shop 1.", "Sort the ticket. Shop 2.")
TEXTS = [pair.messages[-1]["content"] for pair in generate_tickets(40, seed=2)]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Stack]:
    """A gateway that serves two tasks from its start."""
    pairs = list(generate_tickets(100, seed=1))
    specialist = train_specialist(head.create(head.Config()), pairs, tmp_path / "version", tmp_path)
    home = Home(tmp_path / "home")
    (tmp_path / "policies").mkdir()
    make_fleet(home, tmp_path / "policies", specialist, PROMPTS)
    with Stack(home=home, policies=tmp_path / "policies") as stack:
        yield stack


def test_every_task_of_a_fleet_is_answered_locally(fleet: Stack) -> None:
    """Otherwise the figures of a local answer would be those of a proxied one."""
    port = urlsplit(fleet.gateway_url).port
    assert port is not None
    requests = [request for prompt in PROMPTS for request in http_requests(prompt, TEXTS)]
    decisions: set[str] = set()

    with Generator() as generator:
        for _ in range(20):  # until the host has loaded both
            job = Job(port=port, requests=requests, in_flight=4, count=len(requests))
            decisions = set(generator.run(job).latencies_ms)
            if decisions == {"local"}:
                break

    assert decisions == {"local"}
