"""A bundle is what serves, elsewhere: run in a process of its own, without this package."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gateway.core import Certificate, RiskTarget
from gateway.distill.base import TrainingSet, Workspace
from gateway.distill.cached_encoder import CachedEncoder
from gateway.distill.recipes import head as recipe
from gateway.errors import RegistryError
from gateway.registry.models import Registry
from gateway.specialists.edge.bundle import write_bundle
from gateway.specialists.onnx_encoder import OnnxEncoder
from gateway.specialists.runtimes.head import runtime
from gateway.specialists.runtimes.scripted import Script
from tests.specialists.hosting import (
    EXAMPLES,
    drafted,
    publish_head,
    publish_script,
    publish_trained,
    resources_of,
)

QUESTIONS = (
    "has my card arrived?",
    "i do not remember the PIN",
    "na\u00efve caf\u00e9 \u5317\u4eac",
    "x " * 90,
)
CERTIFICATE = Certificate(
    stratum="new",
    target=RiskTarget(),
    stage="live",
    threshold=0.5,
    novelty_floor=0.2,
    forms=("single/short",),
    expires_at=4e9,
)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory, encoder: OnnxEncoder) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    return publish_head(Registry(folder / "models"), folder / "scratch", encoder)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory, version: Path, encoder: OnnxEncoder) -> Path:
    """The folder that a user gets by unzipping a bundle."""
    folder = tmp_path_factory.mktemp("edge")
    manifest, found = Registry(version.parent.parent).verify("support", 1)
    write_bundle(folder / "support.zip", found, manifest, encoder, CERTIFICATE)
    with zipfile.ZipFile(folder / "support.zip") as bundle:
        bundle.extractall(folder)
    return folder / "support"


def run(folder: Path, *arguments: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    """Run the runner of `folder`, which can import nothing from here."""
    return subprocess.run(
        [sys.executable, "-I", str(folder / "run.py"), *arguments],
        input=lines,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder.parent,
        check=False,
    )


def test_a_bundle_drafts_as_the_host_does_to_the_last_bit(
    unpacked: Path, version: Path, encoder: OnnxEncoder
) -> None:
    texts = [*QUESTIONS, *EXAMPLES]
    here = runtime.create(version, resources_of(encoder))

    there = [json.loads(line) for line in run(unpacked, *texts).stdout.splitlines()]

    drafts = [drafted(here, text) for text in texts]
    assert [(said["answer"], said["score"]) for said in there] == [(one.text, one.score) for one in drafts]
    assert [said["similarity"] for said in there] == [one.evidence["similarity"] for one in drafts]


def test_a_bundle_of_two_stages_drafts_as_the_host_does(encoder: OnnxEncoder, tmp_path: Path) -> None:
    (tmp_path / "trained").mkdir()
    lessons = TrainingSet(
        [f"{text} {number}" for number in range(200) for text in EXAMPLES], list(EXAMPLES.values()) * 200
    )
    workspace = Workspace(folder=tmp_path, seed=0, resources=resources_of(CachedEncoder(encoder)))
    report = recipe.create(recipe.Config()).train(lessons, tmp_path / "trained", workspace)
    registry = Registry(tmp_path / "models")
    publish_trained(registry, tmp_path / "trained", encoder)
    manifest, found = registry.verify("support", 1)
    write_bundle(tmp_path / "support.zip", found, manifest, encoder, CERTIFICATE)
    with zipfile.ZipFile(tmp_path / "support.zip") as bundle:
        bundle.extractall(tmp_path)
    texts = [*QUESTIONS, *EXAMPLES, *(f"{text} 1000" for text in EXAMPLES)]

    there = [json.loads(line) for line in run(tmp_path / "support", *texts).stdout.splitlines()]

    here = runtime.create(found, resources_of(encoder))
    drafts = [drafted(here, text) for text in texts]
    assert report.metrics["first_stage_share"] > 0
    assert {"first_stage" in one.evidence for one in drafts} == {True, False}
    assert [(said["answer"], said["score"]) for said in there] == [(one.text, one.score) for one in drafts]
    assert [said["similarity"] for said in there] == [one.evidence.get("similarity") for one in drafts]
    assert run(tmp_path / "support", "--check").returncode == 0


def test_only_what_the_certificate_covers_is_served(unpacked: Path) -> None:
    sure, strange, long = (
        json.loads(line)["is_served"]
        for line in run(
            unpacked, "where is my card", "the recipe needs two eggs", "my card " * 40
        ).stdout.splitlines()
    )

    assert (sure, strange, long) == (True, False, False)


def test_a_bundle_proves_itself_on_its_own_sentences(unpacked: Path) -> None:
    done = run(unpacked, "--check")

    assert (done.returncode, done.stdout) == (
        0,
        "8 of 8 drafts are the same to the last bit, 8 have the same answer\n",
    )


def test_a_text_without_an_honest_answer_does_not_end_the_stream(unpacked: Path) -> None:
    said = [json.loads(line) for line in run(unpacked, lines="\nwhere is my card\n").stdout.splitlines()]

    assert said[0] == {"error": "empty input", "is_served": False}
    assert said[1]["answer"] == "card_arrival"


def test_a_changed_file_is_refused(unpacked: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in unpacked.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    (changed / "answers.json").write_text('["yes", "no", "perhaps"]')

    done = run(changed, "hello")

    assert done.returncode != 0
    assert "answers.json is not the file that was bundled" in done.stderr


def test_the_same_version_makes_the_same_bundle(version: Path, encoder: OnnxEncoder, tmp_path: Path) -> None:
    manifest, folder = Registry(version.parent.parent).verify("support", 1)

    digests = {write_bundle(tmp_path / name, folder, manifest, encoder, None) for name in ("a", "b")}

    assert len(digests) == 1


def test_other_runtimes_are_refused(registry: Registry, tmp_path: Path, encoder: OnnxEncoder) -> None:
    publish_script(registry, tmp_path / "scratch", Script(answers={}))
    manifest, folder = registry.verify("support", 1)

    with pytest.raises(RegistryError, match="only a head or a tagger can be bundled"):
        write_bundle(tmp_path / "x.zip", folder, manifest, encoder, None)
