"""Tasks whose specialist says the same to everything, under a certificate: to see which one answered."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from gateway.core import STRATA, Certificate, Certification, IncomingRequest, Request, RiskTarget
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.specialists.base import Encoder
from gateway.specialists.runtimes.scripted import SCRIPT, Script
from gateway.store.home import Home
from gateway.store.state import State
from gateway.wire.chat.request import read_chat


class Place(msgspec.Struct, frozen=True):
    """Where a task is founded; `folder` is its scratch, not there yet."""

    state: State
    home: Home
    folder: Path
    encoder: Encoder


def read_body(body: bytes) -> Request:
    """Return the request with this chat body."""
    target = b"/v1/chat/completions"
    return read_chat(IncomingRequest(id="", caller="", target=target, headers=(), body=body, received_at=0.0))


def found_task(task: str, scope: str, asked: Request, answer: str, place: Place) -> None:
    """Adopt `task` with the template of `asked`; its specialist is certified and says `answer` to all."""
    place.folder.mkdir(parents=True)
    (place.folder / SCRIPT).write_bytes(msgspec.json.encode(Script(otherwise=answer)))
    manifest = Manifest(
        task=task,
        version=1,
        runtime="scripted",
        encoder=place.encoder.name,
        created_at=0.0,
        recipe="script",
        seed=0,
        rows=0,
        answers=1,
    )
    Registry(place.home.registry).publish(manifest, place.folder)
    place.state.tasks.put(
        task,
        scope=scope,
        contract_hash=asked.contract_hash,
        template_text=asked.template_text,
        vector=np.asarray(place.encoder.encode(asked.template_text), np.float32).tobytes(),
        model=asked.model,
    )
    certificates = tuple(
        Certificate(
            stratum=stratum,
            target=RiskTarget(),
            stage="live",
            threshold=0.5,
            forms=(asked.form,),
            expires_at=1e12,
            is_settled=True,
        )
        for stratum in STRATA
    )
    place.state.certifications.put(Certification(task=task, version=1, certificates=certificates))
