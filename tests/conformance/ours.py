"""Our own gateway: in forward mode with a certified, scripted specialist, and once more with its own key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.specialists.runtimes.scripted import Script
from gateway.store.home import Home
from gateway.store.state import open_state
from tests.conformance.harness import Harness
from tests.conformance.teacher import Teacher
from tests.support.processes import RunningGateway, gateway_process
from tests.support.scripted_gateway import scripted_gateway
from tests.support.waiting import PATIENCE_S

MODEL = "stepdown/support"
TEACHER_KEY = "sk-of-the-gateway"
ENCODER = "stepdown/minilm"
POLICIES = f"""
policies:
  - name: vectors
    models: ["{ENCODER}"]
    embed: minilm
  - name: rest
    share: all
"""
OWN_POLICIES = """
policies:
  - name: no-giant
    models: ["o3*"]
    forbid: true
  - name: rest
"""
LONG = " ".join(f"word{number}" for number in range(30))
ANSWERS = {
    "text": "Hello there, caf\u00e9 \u20ac \U0001f600!",
    "lines": 'a "quote",\r\n\ta tab\\ and\u2028more',
    "json": '{"city":"K\u00f6ln"}',
    "call": '<tool_call>\n{"name":"find","arguments":{"city":"K\u00f6ln"}}\n</tool_call>',
    "calls": "\n".join(
        f'<tool_call>\n{{"name":"find","arguments":{{"city":"{city}"}}}}\n</tool_call>' for city in ("A", "B")
    ),
    "long": LONG,
}
"""The specialist's answers by the text of the request."""


@contextmanager
def our_gateway(home: Path, teacher: Teacher, **environment: str) -> Iterator[RunningGateway]:
    """Run `stepdown serve` in front of `teacher`, with a live specialist for MODEL's task, and ENCODER."""
    policies = home.with_name(f"{home.name}-policies")
    policies.mkdir(parents=True)
    (policies / "default.yaml").write_text(POLICIES)
    script = Script(answers=ANSWERS, otherwise=LONG, score=0.9, hold_back=3, piece_delay_ms=20)
    with scripted_gateway(
        home,
        script,
        scope="all",
        OPENAI_BASE_URL=teacher.base_url,
        STEPDOWN_POLICIES_FOLDER=str(policies),
        **environment,
    ) as gateway:
        yield gateway


@contextmanager
def own_key_gateway(home: Path, teacher: Teacher, **environment: str) -> Iterator[Harness]:
    """Run `stepdown serve` with a key for `teacher`, and yield its harness with a key of the gateway's."""
    with open_state(Home(home)) as state:
        _, key = state.keys.create("conformance")
        _, other_key = state.keys.create("another tenant")
    policies = home.with_name(f"{home.name}-policies")
    policies.mkdir(parents=True)
    (policies / "default.yaml").write_text(OWN_POLICIES)
    with gateway_process(
        home,
        STEPDOWN_POLICIES_FOLDER=str(policies),
        OPENAI_API_KEY=TEACHER_KEY,
        OPENAI_BASE_URL=teacher.base_url,
        STEPDOWN_LEARN_ENABLED="false",
        **environment,
    ) as gateway:
        other = Harness(
            gateway.base_url, teacher, {"authorization": f"Bearer {other_key}"}, timeout_s=PATIENCE_S
        )
        own = {"authorization": f"Bearer {key}"}
        yield Harness(gateway.base_url, teacher, own, other=other, timeout_s=PATIENCE_S)


@contextmanager
def our_harness(home: Path, teacher: Teacher, **environment: str) -> Iterator[Harness]:
    """Run our gateway and yield its harness; the teacher has accepted the harness's key once."""
    own_home = home.with_name(f"{home.name}-own")
    with (
        our_gateway(home, teacher, **environment) as gateway,
        own_key_gateway(own_home, teacher, **environment) as own,
    ):
        harness = Harness(
            gateway.base_url, teacher, local=MODEL, encoder=ENCODER, own=own, timeout_s=PATIENCE_S
        )
        assert harness.chat().status == 200
        yield harness
