"""Times the stages of a specialist's draft in this process, one text after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import msgspec
from threadpoolctl import threadpool_limits

from gateway.core import DraftRequest
from gateway.registry.models import Registry
from gateway.specialists.base import NullListener, Prediction
from gateway.specialists.encoders import create_encoder, minilm
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.host.loaded_models import LoadedModels, Version
from gateway.specialists.runtimes import open_runtime
from gateway.specialists.shared_resources import SharedResources
from gateway.specialists.tokenization import encode_input
from gateway.store.home import Home
from loadtests.support.fleet import Specialist

STAGE_TEXTS = 300


class DraftCosts(msgspec.Struct, frozen=True):
    """CPU of a draft's stages in milliseconds; `first stage` is a whole draft without the encoder."""

    stage_ms: dict[str, float]
    first_stage_share: float


def measure_stages(specialist: Specialist, texts: Sequence[str]) -> DraftCosts:
    """Return what drafts cost, measured here, one text after the other."""
    encoder, tokenizer = create_encoder("minilm"), minilm.build_tokenizer()
    resources = SharedResources(encoder, EnginePool(Path("no-models"), 1_024))
    runtime: Any = open_runtime(specialist.runtime, specialist.folder, resources)
    listener = NullListener()

    def draft(text: str) -> Prediction:
        prediction: Prediction = runtime.draft(DraftRequest(text=text), listener)
        return prediction

    some = texts[:STAGE_TEXTS]
    is_first = ["first_stage" in draft(text).evidence for text in some]
    quick = list(compress(some, is_first))
    encoded = [text for text, first in zip(some, is_first, strict=True) if not first]
    # As in the model host: threads of BLAS that wait for each other would be counted, too.
    with threadpool_limits(1):
        tokenize = _cpu_ms(lambda text: encode_input(tokenizer, text, 256), encoded)
        encode = _cpu_ms(encoder.encode, encoded)
        score = _cpu_ms(draft, encoded) - encode
        first = {"first stage": _cpu_ms(draft, quick)} if quick else {}
    runtime.close()
    stage_ms = {"tokenize": tokenize, "encode": round(encode - tokenize, 3), "score": round(score, 3)}
    return DraftCosts(stage_ms | first, len(quick) / len(some))


def measure_cold_load_ms(home: Home, text: str) -> float:
    """Return the median time of the host's own loading and a first draft, of five tasks at most."""

    registry = Registry(home.registry)
    models = LoadedModels(SharedResources(create_encoder("minilm"), EnginePool(Path("no-models"), 1_024)))
    times = []
    for task in registry.tasks()[:5]:
        version, begun = Version(task, 1), time.perf_counter()
        models.load(version, registry.folder(task, 1))
        models.draft(version, DraftRequest(text=text), NullListener())
        times.append((time.perf_counter() - begun) * 1e3)
        models.unload(version)
    return round(statistics.median(times), 1)


def _cpu_ms(work: Callable[[str], object], texts: Sequence[str]) -> float:
    """Return the CPU of a text in the quickest of three passes: a stage is what is left of two of these."""
    passes = []
    for _ in range(3):
        before = time.process_time()
        for text in texts:
            work(text)
        passes.append(time.process_time() - before)
    return round(min(passes) / len(texts) * 1e3, 3)
