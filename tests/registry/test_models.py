from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway.errors import RegistryError
from gateway.registry.manifest import Manifest
from gateway.registry.models import MANIFEST, Registry, verify_folder


def manifest(version: int = 1, task: str = "support") -> Manifest:
    return Manifest(
        task=task,
        version=version,
        runtime="head",
        encoder="minilm@0",
        created_at=1.0,
        recipe="head",
        seed=0,
        rows=10,
        answers=2,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "head.npz").write_bytes(b"weights" * 1000)
    (folder / "answers.json").write_bytes(b'["yes", "no"]')
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def test_a_published_version_is_found_and_verified(registry: Registry, source: Path) -> None:
    published = registry.publish(manifest(), source)

    verified, folder = registry.verify("support", 1)

    assert verified == published
    assert sorted(verified.files) == ["answers.json", "head.npz"]
    assert (folder / "head.npz").read_bytes() == (source / "head.npz").read_bytes()


def test_a_registry_which_does_not_exist_yet_is_empty(registry: Registry) -> None:
    assert registry.tasks() == []
    assert registry.versions("support") == []
    assert registry.next_version("support") == 1


def test_versions_are_counted_as_numbers(registry: Registry, source: Path) -> None:
    for version in (1, 2, 9, 10):
        registry.publish(manifest(version), source)

    assert registry.versions("support") == [1, 2, 9, 10]
    assert registry.next_version("support") == 11
    assert registry.tasks() == ["support"]


def test_a_version_is_never_published_twice(registry: Registry, source: Path) -> None:
    registry.publish(manifest(), source)
    (source / "answers.json").write_bytes(b'["other", "answers"]')

    with pytest.raises(RegistryError, match="exists already"):
        registry.publish(manifest(), source)

    _, folder = registry.verify("support", 1)
    assert (folder / "answers.json").read_bytes() == b'["yes", "no"]'


def test_a_failed_publishing_leaves_nothing_behind(registry: Registry, source: Path, tmp_path: Path) -> None:
    (source / "link").symlink_to(tmp_path / "secret")

    with pytest.raises(RegistryError, match="link"):
        registry.publish(manifest(), source)

    assert registry.tasks() == []
    assert list((tmp_path / "registry" / "support").iterdir()) == []


def test_the_rest_of_a_killed_publisher_is_no_version(
    registry: Registry, source: Path, tmp_path: Path
) -> None:
    registry.publish(manifest(), source)
    (tmp_path / "registry" / "support" / ".publishing-abc").mkdir()

    assert registry.versions("support") == [1]


def test_the_rest_of_a_killed_publisher_goes_with_the_next_version(
    registry: Registry, source: Path, tmp_path: Path
) -> None:
    """Once it is an hour old: a younger one may be another publisher at work."""
    rests = [tmp_path / "registry" / "support" / f".publishing-{name}" for name in ("old", "young")]
    for rest in rests:
        rest.mkdir(parents=True)
        (rest / "head.npz").write_bytes(b"half")
    os.utime(rests[0], (0, 0))

    registry.publish(manifest(), source)

    assert [rest.exists() for rest in rests] == [False, True]


def _remove(folder: Path) -> None:
    (folder / "head.npz").unlink()


def _change(folder: Path) -> None:
    (folder / "head.npz").write_bytes(b"another model")


def _add(folder: Path) -> None:
    (folder / "extra.so").write_bytes(b"code")


def _replace_by_link(folder: Path) -> None:
    (folder / "head.npz").rename(folder.parent / "elsewhere")
    (folder / "head.npz").symlink_to(folder.parent / "elsewhere")


def _spoil_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b'{"task": 3')


def _lose_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _point_outside(folder: Path) -> None:
    read = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    listed = msgspec.structs.replace(read, files={**read.files, "../../etc": "0" * 64})
    (folder / MANIFEST).write_bytes(msgspec.json.encode(listed))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_remove, "head.npz is missing"),
        (_change, "head.npz was changed"),
        (_add, "extra.so is not in the manifest"),
        (_replace_by_link, "head.npz"),
        (_spoil_manifest, "manifest.json is unreadable"),
        (_lose_manifest, "manifest.json is missing"),
        (_point_outside, r"\.\./\.\./etc"),
    ],
)
def test_a_damaged_version_is_refused_by_the_name_of_the_file(
    registry: Registry, source: Path, damage: Callable[[Path], None], named: str
) -> None:
    registry.publish(manifest(), source)
    damage(registry.verify("support", 1)[1])

    with pytest.raises(RegistryError, match=named):
        registry.verify("support", 1)


def test_a_version_which_was_moved_is_refused(registry: Registry, source: Path) -> None:
    registry.publish(manifest(), source)
    folder = registry.verify("support", 1)[1]
    folder.rename(folder.parent / "2")

    with pytest.raises(RegistryError, match="publish it again"):
        registry.verify("support", 2)


@pytest.mark.parametrize("task", ["", "../up", "a/b", ".hidden", "a" * 101, "spa ce", "nul\0"])
def test_a_task_name_which_could_leave_the_folder_is_refused(registry: Registry, task: str) -> None:
    with pytest.raises(RegistryError, match="no task name"):
        registry.versions(task)


def test_a_manifest_can_be_read_without_looking_at_the_files(registry: Registry, source: Path) -> None:
    published = registry.publish(manifest(), source)
    _remove(registry.verify("support", 1)[1])

    assert registry.read("support", 1) == published


def test_a_folder_can_be_verified_without_knowing_what_it_holds(registry: Registry, source: Path) -> None:
    registry.publish(manifest(7), source)

    assert verify_folder(registry.verify("support", 7)[1]).version == 7


def test_a_deleted_version_is_gone_and_its_number_never_comes_back_below_a_newer_one(
    registry: Registry, source: Path
) -> None:
    for version in (1, 2):
        registry.publish(manifest(version), source)

    registry.delete("support", 1)
    registry.delete("support", 7)

    assert registry.versions("support") == [2]
    assert registry.next_version("support") == 3
    assert [entry.name for entry in registry.folder("support", 2).parent.iterdir()] == ["2"]
