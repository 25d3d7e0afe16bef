"""Of many specialists only so many are in memory at once; a draft never notices which."""

from __future__ import annotations

import shutil
import threading
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from gateway.core import DraftRequest
from gateway.errors import SpecialistError
from gateway.registry.models import Registry
from gateway.specialists.base import NullListener
from gateway.specialists.host.loaded_models import LoadedModels, Version
from gateway.specialists.learnt import write_learnt_texts
from gateway.specialists.runtimes.head.lesson_drafts import LessonDraft, write_lesson_drafts
from gateway.specialists.runtimes.scripted import Script
from tests.specialists.hosting import FlatEncoder, publish_head, publish_script, resources_of

ROOM_MB = 2.5
"""Two of the specialists fit."""


class CountedModels(LoadedModels):
    """Models that note which versions are read from their files."""

    def __init__(self, registry: Registry, scratch: Path, names: str, memory_mb: float = ROOM_MB) -> None:
        super().__init__(resources_of(FlatEncoder()), memory_mb)
        self.was_read: list[str] = []
        self.folders = {
            name: publish_script(
                registry, scratch / name, Script(otherwise=name, answers={"x": "x" * 2**20}), task=name,
                encoder=FlatEncoder().name,
            )
            for name in names
        }  # fmt: skip
        for name in names:
            self.load(Version(name, 1), self.folders[name])
        self.was_read.clear()

    def _create(self, version: Version, folder: Path):  # type: ignore[no-untyped-def]
        self.was_read.append(version.task)
        return super()._create(version, folder)

    def say(self, name: str) -> str:
        return self.draft(Version(name, 1), DraftRequest(text="who?"), NullListener()).text


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def test_what_left_memory_is_read_again_when_it_drafts(registry: Registry, tmp_path: Path) -> None:
    models = CountedModels(registry, tmp_path / "scratch", "abc")

    assert [models.say(name) for name in "aab"] == ["a", "a", "b"]
    assert models.was_read == ["a", "b"]


def test_what_drafted_longest_ago_leaves_memory(registry: Registry, tmp_path: Path) -> None:
    models = CountedModels(registry, tmp_path / "scratch", "abc")

    for name in "bcbabac":
        models.say(name)
    assert models.was_read == ["a", "c"]


def test_only_what_must_be_read_again_has_left_memory(registry: Registry, tmp_path: Path) -> None:
    models = CountedModels(registry, tmp_path / "scratch", "abc")
    names = [Version(name, 1) for name in "abc"]

    assert [models.has_left_memory(name) for name in names] == [True, False, False]
    models.unload(names[0])
    assert not models.has_left_memory(names[0])


def test_without_need_everything_stays(registry: Registry, tmp_path: Path) -> None:
    models = CountedModels(registry, tmp_path / "scratch", "abc", memory_mb=16.0)

    assert [models.say(name) for name in "abcabc"] == list("abcabc")
    assert models.was_read == []


def test_a_specialist_that_is_too_large_alone_drafts_all_the_same(registry: Registry, tmp_path: Path) -> None:
    models = CountedModels(registry, tmp_path / "scratch", "ab", memory_mb=0.5)
    assert [models.say(name) for name in "abab"] == list("abab")


def test_learnt_texts_are_known_of_what_left_memory(registry: Registry, tmp_path: Path) -> None:
    models = CountedModels(registry, tmp_path / "scratch", "abc")
    assert not models.has_learnt(Version("a", 1), "who?")
    assert models.was_read == ["a"]
    assert not models.has_learnt(Version("unknown", 1), "who?")


def test_files_that_are_gone_are_a_version_that_is_not_loaded(registry: Registry, tmp_path: Path) -> None:
    models = CountedModels(registry, tmp_path / "scratch", "abc")
    shutil.rmtree(models.folders["a"])

    with pytest.raises(SpecialistError, match="version not loaded"):
        models.say("a")
    assert models.say("b") == "b"


def test_an_unloaded_version_does_not_come_back(registry: Registry, tmp_path: Path) -> None:
    models = CountedModels(registry, tmp_path / "scratch", "abc")
    models.unload(Version("a", 1))

    with pytest.raises(SpecialistError, match="version not loaded"):
        models.say("a")


def test_many_threads_draft_by_more_versions_than_fit(registry: Registry, tmp_path: Path) -> None:
    models = CountedModels(registry, tmp_path / "scratch", "abcd")
    wrong: list[str] = []

    def draft_by_turns(start: int) -> None:
        for number in range(40):
            name = "abcd"[(start + number * 3) % 4]
            if (said := models.say(name)) != name:
                wrong.append(said)

    threads = [threading.Thread(target=draft_by_turns, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_version_that_is_unloaded_while_it_is_read_again_does_not_stay(
    registry: Registry, tmp_path: Path
) -> None:
    models = CountedModels(registry, tmp_path / "scratch", "abc")
    create = models._create

    def create_and_unload(version: Version, folder: Path):  # type: ignore[no-untyped-def]
        runtime = create(version, folder)
        models.unload(version)
        return runtime

    models._create = create_and_unload  # type: ignore[method-assign]

    with pytest.raises(SpecialistError, match="version not loaded"):
        models.say("a")
    assert Version("a", 1) not in models._loaded


def test_many_lessons_take_no_more_memory_than_is_reckoned(registry: Registry, tmp_path: Path) -> None:
    """20,000 texts in sets and dicts would be 10 MB; a limit that counts files would be missed threefold."""
    scratch, encoder = tmp_path / "scratch", FlatEncoder()
    folder = publish_head(registry, scratch, encoder)
    texts = [f"lesson {number}" for number in range(20_000)]
    write_learnt_texts(texts, scratch)
    write_lesson_drafts(texts, [LessonDraft(0, 0.9, 0.8, 0.7)] * len(texts), scratch)
    manifest = registry.read("support", 1)
    registry.publish(msgspec.structs.replace(manifest, version=2), scratch)
    models = LoadedModels(resources_of(encoder))
    models.load(Version("support", 1), folder)

    tracemalloc.start()
    models.load(Version("support", 2), registry.folder("support", 2))
    taken_mb = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()

    assert taken_mb < 1.5 * models._loaded[Version("support", 2)].size_mb


def test_a_network_takes_more_memory_than_its_file(registry: Registry, tmp_path: Path) -> None:
    """A limit that counts files alone was missed by a quarter with taggers."""
    scratch = tmp_path / "scratch"
    folder = publish_script(registry, scratch, Script(), encoder=FlatEncoder().name)
    models = LoadedModels(resources_of(FlatEncoder()))
    models.load(Version("support", 1), folder)
    (scratch / "model.onnx").write_bytes(bytes(10 * 2**20))
    manifest = registry.read("support", 1)
    registry.publish(msgspec.structs.replace(manifest, version=2), scratch)

    models.load(Version("support", 2), registry.folder("support", 2))

    more_mb = models._loaded[Version("support", 2)].size_mb - models._loaded[Version("support", 1)].size_mb
    assert more_mb == pytest.approx(13.0, abs=0.01)
