"""A base that one machine pulled comes to every machine that serves an adapter on it, and no other does."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.errors import RegistryError
from gateway.processes.registry_access import open_bases, open_shared, open_shared_bases
from gateway.processes.shared_bases import SharedBases
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.settings import Settings, read_settings
from gateway.specialists.engine.base_model import base_digest
from gateway.specialists.runtimes import genai
from gateway.store.home import Home

TASK = "support"


def manifest(task: str, version: int, created_at: float = 0.0) -> Manifest:
    return Manifest(
        task=task, version=version, runtime="genai", encoder="", created_at=created_at, recipe="pull", seed=0,
        rows=0, answers=0,
    )  # fmt: skip


class Machine:
    """One machine's registry and bases, as its version puller has them."""

    def __init__(self, folder: Path, storage: Path) -> None:
        self.home = Home(folder)
        self.home.make()
        self.settings: Settings = read_settings(
            {
                "STEPDOWN_HOME": str(folder),
                "STEPDOWN_STATE_URL": "redis://localhost",
                "STEPDOWN_REGISTRY_STORAGE": str(storage),
            }
        )
        self.bases = SharedBases(self.home.models, open_shared_bases(self.settings))
        self.registry = open_shared(self.settings, self.bases)

    def make_base(self, name: str, weights: bytes, registry: Registry | None = None) -> str:
        """Make a base as `models pull` does, and return its digest."""
        source = self.home.folder / f"source-{weights.decode()}"
        source.mkdir()
        (source / "model.onnx").write_bytes(weights)
        registry = registry or Registry(self.home.models)
        return base_digest(registry.publish(manifest(name, 1), source))

    def publish(self, version: int, base: str, digest: str) -> None:
        """Publish an adapter on a base."""
        source = self.home.folder / f"adapter-{version}"
        source.mkdir()
        (source / genai.ADAPTER).write_bytes(b"adapter")
        genai.write_card(genai.Card(base=base, base_digest=digest, max_new_tokens=8), source)
        self.registry.publish(manifest(TASK, version), source)


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Machine, Machine]:
    return Machine(tmp_path / "a", tmp_path / "shared"), Machine(tmp_path / "b", tmp_path / "shared")


def test_a_version_comes_with_its_base(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    a.publish(1, "tiny", a.make_base("tiny", b"weights"))
    assert a.bases.publish_own() == 1
    assert a.bases.publish_own() == 0

    b.registry.pull(TASK, 1)

    pulled, folder = Registry(b.home.models).verify("tiny", 1)
    assert pulled == Registry(a.home.models).read("tiny", 1)
    assert (folder / "model.onnx").read_bytes() == b"weights"
    assert b.bases.publish_own() == 0


def test_a_base_is_pulled_once_and_published_as_it_is_pulled(machines: tuple[Machine, Machine]) -> None:
    """`models pull` on a second machine takes what the first has published."""
    a, b = machines
    digest = a.make_base("tiny", b"weights", open_bases(a.settings))

    manifest_there, _ = open_bases(b.settings).verify("tiny", 1)

    assert base_digest(manifest_there) == digest


def test_without_its_base_a_version_is_not_here_and_it_is_said_why(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    a.publish(1, "tiny", a.make_base("tiny", b"weights"))
    with pytest.raises(RegistryError, match="neither here nor in the storage"):
        b.registry.pull(TASK, 1)
    assert not b.registry.has(TASK, 1)

    a.bases.publish_own()
    b.bases = SharedBases(b.home.models, open_shared_bases(b.settings))
    open_shared(b.settings, b.bases).pull(TASK, 1)
    assert Registry(b.home.models).versions("tiny") == [1]


def test_another_conversion_under_the_same_name_does_not_serve_it(machines: tuple[Machine, Machine]) -> None:
    """Also where it was here first: an adapter fits one digest."""
    a, b = machines
    b.make_base("tiny", b"other")
    assert b.bases.publish_own() == 1
    digest = a.make_base("tiny", b"weights")
    a.publish(1, "tiny", digest)
    assert a.bases.publish_own() == 0

    with pytest.raises(RegistryError, match="neither here nor in the storage"):
        b.registry.pull(TASK, 1)
    assert not b.registry.has(TASK, 1)
    assert a.registry.has(TASK, 1)


def test_a_damaged_base_in_the_storage_is_refused(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    a, b = machines
    a.publish(1, "tiny", a.make_base("tiny", b"weights"))
    a.bases.publish_own()
    [stored] = (tmp_path / "shared/bases/files").rglob("model.onnx")
    stored.write_bytes(b"changed")

    with pytest.raises(RegistryError, match="damaged"):
        b.registry.pull(TASK, 1)
    assert not Registry(b.home.models).versions("tiny")


def test_a_version_that_was_here_before_its_base_gets_it(machines: tuple[Machine, Machine]) -> None:
    """As after an upgrade from a stepdown that shared no bases."""
    a, b = machines
    a.publish(1, "tiny", a.make_base("tiny", b"weights"))
    open_shared(b.settings).pull(TASK, 1)
    a.bases.publish_own()

    b.registry.mend(TASK, 1)

    assert Registry(b.home.models).versions("tiny") == [1]


def test_a_head_needs_no_base(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    source = a.home.folder / "head"
    source.mkdir()
    (source / "head.npz").write_bytes(b"head")
    a.registry.publish(msgspec.structs.replace(manifest(TASK, 1), runtime="head"), source)

    b.registry.pull(TASK, 1)

    assert not b.home.models.exists()
