"""The learner's process keeps no history that no certificate can need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from gateway.core import Audit
from gateway.processes.learner import AUDIT_DAYS, KEPT_VERSIONS, prune_history
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.store.home import Home
from gateway.store.state import open_state
from tests.support.builders import certified

DAY_S = 86_400.0


def publish(registry: Registry, folder: Path, version: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "head.npz").write_bytes(b"weights")
    manifest = Manifest(
        task="cards",
        version=version,
        runtime="head",
        encoder="minilm@0",
        created_at=1.0,
        recipe="head",
        seed=0,
        rows=10,
        answers=2,
    )
    registry.publish(manifest, folder)


def test_the_version_that_drafts_stays_whichever_process_certified_it(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    for version in range(1, 12):
        publish(registry, tmp_path / "trained", version)
    with open_state(Home(tmp_path / "home")) as state, open_state(Home(tmp_path / "home")) as other:
        other.certifications.put(certified("cards", version=2))

        prune_history(state, registry, 200 * DAY_S)

    assert 2 in registry.versions("cards")


def test_old_audits_and_versions_go_and_what_drafts_stays(tmp_path: Path) -> None:
    now, registry = 200 * DAY_S, Registry(tmp_path / "registry")
    for version in range(1, 12):
        publish(registry, tmp_path / "trained", version)
    audit = Audit(
        request_id="r", at=0.0, task="cards", stratum="new", template="feed", version=2, loss=0.0, score=0.9
    )
    with open_state(Home(tmp_path / "home")) as state:
        state.certifications.put(certified("cards", 2))
        for at in (now - (AUDIT_DAYS + 1) * DAY_S, now - DAY_S):
            state.audits.put(msgspec.structs.replace(audit, at=at))
        state.audits.flush()

        prune_history(state, registry, now)

        assert [kept.at for _, kept in state.audits.since(0)] == [now - DAY_S]
    newest = list(range(12 - KEPT_VERSIONS, 12))
    assert registry.versions("cards") == [2, *newest]


def test_the_learner_computes_on_one_core() -> None:
    """With the BLAS of numpy, loaded before it can be told, as with that of scipy, which comes later."""
    program = """
from gateway.processes.learner import limit_threads
limit_threads()
import scipy.linalg, threadpoolctl
print({pool["num_threads"] for pool in threadpoolctl.threadpool_info()})
"""
    limited = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    told_nothing = {name: value for name, value in os.environ.items() if name not in limited}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=told_nothing, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "{1}\n"
