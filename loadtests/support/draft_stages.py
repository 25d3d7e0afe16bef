"""Times the stages of a specialist's draft in this process, one text after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from gateway.config.plugins import load_plugin
from gateway.core import DraftRequest
from gateway.registry.models import Registry
from gateway.specialists.base import NullListener
from gateway.specialists.encoders import create_encoder, minilm
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.host.loaded_models import LoadedModels, Version
from gateway.specialists.shared_resources import SharedResources
from gateway.specialists.tokenization import encode_input
from gateway.store.home import Home
from loadtests.support.fleet import Specialist

STAGE_TEXTS = 300


def measure_stages(specialist: Specialist, texts: Sequence[str]) -> dict[str, float]:
    """Return the CPU of a draft's stages in milliseconds, measured here, one text after the other."""

    encoder, tokenizer = create_encoder("minilm"), minilm.build_tokenizer()
    resources = SharedResources(encoder, EnginePool(Path("no-models"), 1_024))
    runtime: Any = load_plugin("gateway.specialists.runtimes", specialist.runtime).create(
        specialist.folder, resources
    )
    some = texts[:STAGE_TEXTS]
    listener = NullListener()
    # As in the model host: threads of BLAS that wait for each other would be counted, too.
    with threadpool_limits(1):
        tokenize = _cpu_ms(lambda text: encode_input(tokenizer, text, 256), some)
        encode = _cpu_ms(encoder.encode, some)
        draft = _cpu_ms(lambda text: runtime.draft(DraftRequest(text=text), listener), some)
    runtime.close()
    return {
        "tokenize": tokenize,
        "encode": round(encode - tokenize, 3),
        "score": round(draft - encode, 3),
    }


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
    for text in texts[:20]:
        work(text)
    before = time.process_time()
    for text in texts:
        work(text)
    return round((time.process_time() - before) / len(texts) * 1e3, 3)
