"""A home whose specialists are live from the start, for measuring what their answers cost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gateway.api.auth import OPEN
from gateway.core import Certificate, Certification, IncomingRequest, Request, RiskTarget
from gateway.demo.tickets import Pair
from gateway.distill.base import Recipe, TrainingSet, Workspace
from gateway.policy.load import load_policies
from gateway.policy.planner import PolicyPlanner
from gateway.policy.prepared import CHAT
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.routing.base import task_name
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.learnt import write_learnt_texts
from gateway.specialists.shared_resources import SharedResources
from gateway.store.home import Home
from gateway.store.state import open_state
from gateway.wire.chat.request import read_chat
from loadtests.support.chat_requests import make_request

MODEL = "gpt-4o"
POLICY = f"""
policies:
  - name: local
    models: ["{MODEL}"]
    alpha: 0.5
    audit: {{shadow: 0.0, settling: 0.0, certified: 0.0}}
"""


class Specialist(msgspec.Struct, frozen=True):
    """A trained version that every task of the fleet serves."""

    folder: Path
    runtime: str
    encoder: str
    lessons: TrainingSet


def train_specialist(
    recipe: Recipe, pairs: Sequence[Pair], folder: Path, models: Path, alpha: float = 0.02
) -> Specialist:
    """Return a specialist in `folder` that `recipe` has taught the answers of `pairs`, for this risk."""
    from gateway.specialists.encoders import create_encoder

    encoder = create_encoder("minilm")
    lessons = TrainingSet([pair.messages[-1]["content"] for pair in pairs], [pair.answer for pair in pairs])
    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        resources = SharedResources(encoder, EnginePool(models, 1_024))
        workspace = Workspace(folder=Path(scratch), seed=0, resources=resources, alphas=(alpha,))
        recipe.train(lessons, folder, workspace)
    write_learnt_texts(lessons.texts, folder)
    return Specialist(folder, recipe.runtime, encoder.name, lessons)


def make_fleet(home: Home, policies: Path, specialist: Specialist, prompts: Sequence[str]) -> None:
    """Publish `specialist` as the task of each of `prompts`, served whatever its score."""
    (policies / "local.yaml").write_text(POLICY)
    planner = PolicyPlanner(load_policies(str(policies)), lambda _: 0.0)
    registry = Registry(home.registry)
    home.make()
    with open_state(home) as state:
        for prompt in prompts:
            request = _read(prompt, "where is it?")
            scope = planner.plan(request).scope
            task = task_name(request.template, scope)
            state.tasks.put(
                task,
                scope=scope,
                contract_hash=request.contract_hash,
                template_text=request.template_text,
                vector=b"",
                model=MODEL,
            )
            registry.publish(_manifest(task, specialist), specialist.folder)
            state.certifications.put(_certified(task))


def http_requests(prompt: str, texts: Sequence[str]) -> list[bytes]:
    """Return whole HTTP requests that ask `texts` under `prompt`."""
    return [make_request(_body(prompt, text)) for text in texts]


def _body(prompt: str, text: str) -> bytes:
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": text}]
    return msgspec.json.encode({"model": MODEL, "messages": messages})


def _read(prompt: str, text: str) -> Request:
    return read_chat(
        IncomingRequest(
            id="1",
            caller=OPEN,
            tenant=OPEN,
            target=b"/v1/chat/completions",
            headers=((b"content-type", b"application/json"),),
            body=_body(prompt, text),
            received_at=0.0,
            resource=CHAT,
        )
    )


def _manifest(task: str, specialist: Specialist) -> Manifest:
    return Manifest(
        task=task,
        version=1,
        runtime=specialist.runtime,
        encoder=specialist.encoder,
        created_at=time.time(),
        recipe="loadtest",
        seed=0,
        rows=len(specialist.lessons.texts),
        answers=0,
    )


def _certified(task: str) -> Certification:
    forms = tuple(_read("p", "x" * length).form for length in (10, 300, 2_000))
    certificates = tuple(
        Certificate(
            stratum=stratum,
            target=RiskTarget(0.01, 0.01),
            stage="live",
            threshold=-1.0,
            forms=forms,
            expires_at=time.time() + 86_400.0,
        )
        for stratum in ("new", "learnt")
    )
    return Certification(task=task, version=1, judged_version=1, certificates=certificates)
