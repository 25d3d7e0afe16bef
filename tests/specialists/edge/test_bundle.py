"""A bundle is what serves, elsewhere: run in a process of its own, without this package."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core import Certificate, RiskTarget, Stratum, hash_text
from gateway.distill.base import TrainingSet, Workspace
from gateway.distill.cached_encoder import CachedEncoder
from gateway.distill.recipes import head as recipe
from gateway.errors import RegistryError, SpecialistError
from gateway.registry.models import Registry
from gateway.specialists.edge import run as runner
from gateway.specialists.edge.bundle import write_bundle
from gateway.specialists.learnt import write_learnt_texts
from gateway.specialists.onnx_encoder import OnnxEncoder
from gateway.specialists.runtimes.head import runtime
from gateway.specialists.runtimes.scripted import Script
from tests.specialists.hosting import (
    EXAMPLES,
    drafted,
    make_head,
    publish_head,
    publish_script,
    publish_trained,
    resources_of,
    write_head,
)
from tests.support.small_disk import small_disk

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
    novelty_floor=-0.95,
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
    write_bundle(folder / "support.zip", found, manifest, encoder, [CERTIFICATE])
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
    write_bundle(tmp_path / "support.zip", found, manifest, encoder, [CERTIFICATE])
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


@pytest.fixture
def changed(unpacked: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to be changed."""
    return shutil.copytree(unpacked, tmp_path / "changed")


def change_facts(folder: Path, **changes: Any) -> None:
    facts = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(facts | changes))


def test_a_changed_file_is_refused(changed: Path) -> None:
    (changed / "answers.json").write_text('["yes", "no", "perhaps"]')

    done = run(changed, "hello")

    assert done.returncode != 0
    assert "answers.json is not the file that was bundled" in done.stderr


def test_the_same_version_makes_the_same_bundle(version: Path, encoder: OnnxEncoder, tmp_path: Path) -> None:
    manifest, folder = Registry(version.parent.parent).verify("support", 1)

    digests = {write_bundle(tmp_path / name, folder, manifest, encoder, []) for name in ("a", "b")}

    assert len(digests) == 1


def test_other_runtimes_are_refused(registry: Registry, tmp_path: Path, encoder: OnnxEncoder) -> None:
    publish_script(registry, tmp_path / "scratch", Script(answers={}))
    manifest, folder = registry.verify("support", 1)

    with pytest.raises(RegistryError, match="only a head or a tagger can be bundled"):
        write_bundle(tmp_path / "x.zip", folder, manifest, encoder, [])


@pytest.mark.parametrize("name", ["bundle.json", "head.py", "familiarity.npz", "tokenizer.json"])
def test_a_file_that_is_missing_is_named(changed: Path, name: str) -> None:
    (changed / name).unlink()

    done = run(changed, "hello")

    assert (done.returncode, done.stderr) == (
        1,
        f"{changed / name} cannot be read: No such file or directory\n",
    )


@pytest.mark.parametrize("facts", ["{", "{}", '{"files": "none"}'])
def test_facts_that_are_none_are_refused(changed: Path, facts: str) -> None:
    (changed / "bundle.json").write_text(facts)

    assert "bundle.json is not the file that was bundled\n" in run(changed, "hello").stderr


def test_a_package_beside_the_bundle_is_not_what_drafts(changed: Path) -> None:
    (changed / "head").mkdir()
    (changed / "head" / "__init__.py").write_text("raise SystemExit('what was not bundled was run')")

    assert json.loads(run(changed, "where is my card").stdout)["answer"] == "card_arrival"


def test_bytes_that_are_no_text_do_not_end_the_stream(unpacked: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(unpacked / "run.py")],
        input=b"caf\xe9\nwhere is my card\n",
        env={"PYTHONIOENCODING": "utf-8:strict", "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=120,
        check=True,
    )

    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said[0] == {"error": "input unreadable", "is_served": False}
    assert said[1]["answer"] == "card_arrival"


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_answers_are_the_same_letters_whatever_the_locale(
    locale: str, encoder: OnnxEncoder, tmp_path: Path
) -> None:
    """Read as Latin-1, or as Windows does, "caf\u00e9" would be served as other letters."""
    (tmp_path / "scratch").mkdir()
    examples = {text: f"{answer} caf\u00e9" for text, answer in EXAMPLES.items()}
    write_head(tmp_path / "scratch", encoder, make_head(encoder, examples))
    registry = Registry(tmp_path / "models")
    publish_trained(registry, tmp_path / "scratch", encoder)
    manifest, folder = registry.verify("support", 1)
    write_bundle(tmp_path / "x.zip", folder, manifest, encoder, [CERTIFICATE])
    with zipfile.ZipFile(tmp_path / "x.zip") as bundle:
        bundle.extractall(tmp_path)

    done = subprocess.run(
        [sys.executable, str(tmp_path / "support" / "run.py"), "where is my card"],
        env={"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        timeout=120,
        check=True,
    )

    assert json.loads(done.stdout)["answer"] == "card_arrival caf\u00e9"


def test_a_text_too_long_for_the_host_is_too_long_here(
    unpacked: Path, version: Path, encoder: OnnxEncoder
) -> None:
    text = "card" + " " * 9_000 + "where is my card"

    assert json.loads(run(unpacked, lines=text).stdout)["error"] == "input too long"
    with pytest.raises(SpecialistError, match="input too long"):
        drafted(runtime.create(version, resources_of(encoder)), text)


def test_nothing_is_served_where_drafts_differ_by_more_than_rounding(changed: Path) -> None:
    probes = json.loads((changed / "bundle.json").read_text())["probes"]
    for difference, is_served in ((1e-6, True), (1e-2, False)):
        probes[0]["draft"]["score"] += difference
        change_facts(changed, probes=probes)

        done = run(changed, "where is my card")

        assert json.loads(done.stdout)["is_served"] is is_served
        assert ("7 of 8 drafts are the same" in done.stderr) is not is_served
        checked = run(changed, "--check")
        assert "7 of 8 drafts are the same" in checked.stdout
        assert checked.returncode == (0 if is_served else 1)


def test_another_version_of_a_package_is_named_where_drafts_differ(changed: Path) -> None:
    """pip brings Python 3.10 an onnxruntime whose int8 products are others."""
    facts = json.loads((changed / "bundle.json").read_text())
    facts["probes"][0]["draft"]["score"] += 1e-2
    change_facts(changed, probes=facts["probes"], packages=facts["packages"] | {"onnxruntime": "1.0.0"})

    assert "; made with onnxruntime 1.0.0: see requirements.txt" in run(changed, "--check").stderr


def test_a_bundle_names_the_packages_that_it_needs(unpacked: Path) -> None:
    pinned = (unpacked / "requirements.txt").read_text().splitlines()

    names = ("numpy", "onnxruntime", "tokenizers")
    assert pinned == [f"{name}=={metadata.version(name)}" for name in names]


def test_nothing_is_served_on_no_proof_at_all(changed: Path) -> None:
    change_facts(changed, probes=[])

    assert json.loads(run(changed, "where is my card").stdout)["is_served"] is False
    assert run(changed, "--check").returncode == 1


@pytest.mark.parametrize(
    ("certificates", "why"),
    [({}, "no certificate was in force"), ({"new": {"expires_at": 1.0}}, "its certificate is over")],
)
def test_a_bundle_that_serves_nothing_says_why(
    changed: Path, certificates: dict[str, dict[str, float]], why: str
) -> None:
    """A service would ask the teacher for all, and nothing would tell."""
    change_facts(changed, certificates=certificates)

    done = run(changed, "where is my card")

    assert done.stderr.startswith(f"nothing is served: {why}")
    assert json.loads(done.stdout)["is_served"] is False


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Handle SIGINT, which a job in a shell's background ignores: children inherit that, but no handler."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("sent", ["ctrl-c", "reader gone"])
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_who_ends_the_runner_sees_no_traceback(unpacked: Path, sent: str) -> None:
    with subprocess.Popen(
        [sys.executable, str(unpacked / "run.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as runner:
        assert runner.stdin
        assert runner.stdout
        assert runner.stderr
        runner.stdin.write("where is my card\n")
        runner.stdin.flush()
        assert "card_arrival" in runner.stdout.readline()
        if sent == "ctrl-c":
            runner.send_signal(signal.SIGINT)
        else:
            runner.stdout.close()
            runner.stdin.write("where is my card\n")
            runner.stdin.flush()
        assert runner.stderr.read() == ""
        assert runner.wait() == (130 if sent == "ctrl-c" else 1)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, encoder: OnnxEncoder) -> Path:
    """The folder of a version that knows which text it has learnt."""
    folder = tmp_path_factory.mktemp("taught")
    registry = Registry(folder / "models")
    (folder / "scratch").mkdir()
    write_head(folder / "scratch", encoder)
    write_learnt_texts(["where is my caf\u00e9  card"], folder / "scratch")
    return publish_trained(registry, folder / "scratch", encoder)


@pytest.mark.parametrize(
    ("strata", "served"),
    [(["new"], [False, False, True]), (["learnt"], [True, True, False]), ([], [False] * 3)],
)
def test_learnt_texts_and_new_ones_have_a_certificate_each(
    taught: Path, encoder: OnnxEncoder, tmp_path: Path, strata: list[Stratum], served: list[bool]
) -> None:
    """As in the gateway: one says nothing of the other, whatever white space and spelling a text has."""
    manifest, found = Registry(taught.parent.parent).verify("support", 1)
    certificates = [msgspec.structs.replace(CERTIFICATE, stratum=each) for each in strata]
    write_bundle(tmp_path / "support.zip", found, manifest, encoder, certificates)
    with zipfile.ZipFile(tmp_path / "support.zip") as bundle:
        bundle.extractall(tmp_path)
    texts = ("where is my caf\u00e9 card", " where is\u2003my cafe\u0301 card ", "where is my card")

    said = [json.loads(line) for line in run(tmp_path / "support", *texts).stdout.splitlines()]

    assert [each["is_served"] for each in said] == served


@pytest.mark.parametrize(
    "text",
    [" a  b ", "cafe\u0301", "e" + "\u0301\u0323" * 15, "e" + "\u0301\u0323" * 20, "\u0301\u0323" * 30_000],
)
def test_the_runner_knows_texts_by_the_hash_that_the_gateway_knows_them_by(text: str) -> None:
    assert runner.hash_text(text) == hash_text(text)


def test_a_service_may_read_what_another_user_unpacked(
    version: Path, encoder: OnnxEncoder, tmp_path: Path
) -> None:
    manifest, folder = Registry(version.parent.parent).verify("support", 1)
    write_bundle(tmp_path / "x.zip", folder, manifest, encoder, [])

    with zipfile.ZipFile(tmp_path / "x.zip") as bundle:
        assert {entry.external_attr >> 16 for entry in bundle.infolist()} == {0o100644}


def test_what_cannot_be_written_leaves_what_was_there(
    version: Path, encoder: OnnxEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, folder = Registry(version.parent.parent).verify("support", 1)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)

    for place in (tmp_path / "nowhere" / "x.zip", tmp_path / "folder", Path()):
        with pytest.raises(RegistryError, match="cannot be written"):
            write_bundle(place, folder, manifest, encoder, [])
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_pipe_or_a_device_is_never_replaced(version: Path, encoder: OnnxEncoder, tmp_path: Path) -> None:
    """For root `-o /dev/null` would take it from the whole machine."""
    manifest, folder = Registry(version.parent.parent).verify("support", 1)
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(RegistryError, match="it is no file"):
        write_bundle(tmp_path / "pipe", folder, manifest, encoder, [])

    assert (tmp_path / "pipe").is_fifo()


def test_behind_a_link_the_file_is_replaced(version: Path, encoder: OnnxEncoder, tmp_path: Path) -> None:
    manifest, folder = Registry(version.parent.parent).verify("support", 1)
    (tmp_path / "latest.zip").symlink_to(tmp_path / "there.zip")

    write_bundle(tmp_path / "latest.zip", folder, manifest, encoder, [])

    assert (tmp_path / "latest.zip").is_symlink()
    assert zipfile.is_zipfile(tmp_path / "there.zip")


def test_ctrl_c_leaves_nothing_behind(
    version: Path, encoder: OnnxEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, folder = Registry(version.parent.parent).verify("support", 1)
    (tmp_path / "x.zip").write_text("before")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "writestr", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "x.zip", folder, manifest, encoder, [])

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.zip", "before")]


def test_no_room_for_what_is_packed_is_said(
    version: Path, encoder: OnnxEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, folder = Registry(version.parent.parent).verify("support", 1)
    with small_disk(tmp_path / "small", megabytes=2) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
        with pytest.raises(RegistryError, match=r"put together in .*small \(TMPDIR\): No space left"):
            write_bundle(tmp_path / "x.zip", folder, manifest, encoder, [])
        assert not list(disk.folder.iterdir())
