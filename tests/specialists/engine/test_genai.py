from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gateway.core import DraftRequest
from gateway.errors import RegistryError, SpecialistError
from gateway.specialists import knn
from gateway.specialists.base import NullListener
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.runtimes import genai
from gateway.specialists.shared_resources import SharedResources
from tests.specialists.hosting import FlatEncoder

CARD = genai.Card(base="tiny", base_digest="0" * 64, max_new_tokens=8)


def write_version(folder: Path, card: genai.Card) -> Path:
    """Write all but the adapter into `folder`."""
    genai.write_card(card, folder)
    knn.write_neighbors(np.full((2, 4), 0.5, np.float32), folder)
    return folder


def resources(engines: EnginePool) -> SharedResources:
    """Return the resources of a host with these engines."""
    return SharedResources(FlatEncoder(), engines)


def test_an_unreadable_card_is_named(tmp_path: Path) -> None:
    (tmp_path / genai.CARD).write_text('{"base": 3}')
    with pytest.raises(RegistryError, match=r"genai\.json"):
        genai.create(tmp_path, resources(EnginePool(tmp_path, 64)))


def test_a_missing_adapter_is_named(tmp_path: Path) -> None:
    write_version(tmp_path, CARD)
    with pytest.raises(RegistryError, match=r"adapter\.onnx_adapter"):
        genai.create(tmp_path, resources(EnginePool(tmp_path, 64)))


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    genai.write_card(CARD, tmp_path)
    assert genai.read_card(tmp_path) == CARD


@pytest.mark.learn
def test_a_version_drafts_with_its_adapter(
    models: Path, digest: str, adapter: Path, engines: EnginePool, tmp_path: Path
) -> None:
    card = genai.Card(base="tiny", base_digest=digest, max_new_tokens=8)
    shutil.copy(adapter, write_version(tmp_path, card) / genai.ADAPTER)
    runtime = genai.create(tmp_path, resources(engines))

    draft = runtime.draft(DraftRequest(text="lost card"), NullListener())

    assert 0 < draft.completion_tokens <= 8
    assert 0 < draft.score <= 1
    assert draft.evidence["similarity"] == pytest.approx(1.0)
    assert {"min_logprob", "mean_logprob"} < set(draft.evidence)
    with pytest.raises(SpecialistError, match="empty input"):
        runtime.draft(DraftRequest(text=" "), NullListener())


@pytest.mark.learn
def test_an_adapter_of_another_base_is_refused(adapter: Path, engines: EnginePool, tmp_path: Path) -> None:
    shutil.copy(adapter, write_version(tmp_path, CARD) / genai.ADAPTER)
    with pytest.raises(RegistryError, match="another base"):
        genai.create(tmp_path, resources(engines))
