from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli.models.versions import Outcome, print_comparison, report_outcome
from gateway.core import Footprint
from gateway.distill.base import Event
from gateway.distill.base_models.quantization import build_quantized
from gateway.processes.versions import Comparison, Difference, Side
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.specialists.encoders import minilm
from gateway.specialists.runtimes.scripted import Script
from gateway.store.home import Home
from gateway.store.state import open_state
from tests.cli.conftest import Command
from tests.cli.hub import COMMIT, running_hub
from tests.distill.base_models.tiny import write_checkpoint
from tests.specialists.hosting import publish_head, publish_script
from tests.support.builders import certified
from tests.support.processes import environment


def publish(home: Path, task: str, version: int) -> Path:
    """Publish a specialist of one small file and return its folder."""
    source = home.parent / "source"
    source.mkdir(exist_ok=True)
    (source / "answers.json").write_text('["yes", "no"]')
    manifest = Manifest(
        task=task,
        version=version,
        runtime="scripted",
        encoder="",
        created_at=0.0,
        recipe="head",
        seed=0,
        rows=1_234,
        answers=2,
        metrics={"error": 0.01},
    )
    Registry(Home(home).registry).publish(manifest, source)
    return Registry(Home(home).registry).folder(task, version)


def test_every_version_is_listed(command: Command, home: Path) -> None:
    publish(home, "tickets", 1)
    publish(home, "tickets", 2)

    listed = json.loads(command("models", "list", "--json").stdout)
    printed = command("models", "list").stdout

    assert "tickets           v1    head          1,234" in printed
    assert [(one["kind"], one["task"], one["version"]) for one in listed] == [
        ("specialist", "tickets", 1),
        ("specialist", "tickets", 2),
    ]
    assert max(map(len, printed.splitlines())) <= 80


def test_the_list_is_one_table_with_one_head_that_names_a_model_once(command: Command, home: Path) -> None:
    name = "tickets-that-are-sorted-by-the-department-for-it"
    for version in (1, 2):
        publish(home, "cards", version)
        publish(home, TASK, version)
    adopt(home, name, 1)

    lines = command("models", "list").stdout.splitlines()

    assert [line.split() for line in lines] == [
        ["kind", "name", "recipe", "rows", "MB", "made"],
        ["specialist", "cards", "v1", "head", "1,234", "0.0", "1970-01-01"],
        ["v2", "head", "1,234", "0.0", "1970-01-01"],
        ["specialist", name],
        ["v1*", "head", "1,234", "0.0", "1970-01-01"],
        ["v2", "head", "1,234", "0.0", "1970-01-01"],
        ["*", "drafts", "now"],
    ]
    ends = {line.index("1,234") for line in lines if "1,234" in line}
    assert ends == {lines[0].index("rows") - 1}, "numbers stand below their head"


def test_without_a_model_the_list_says_where_they_come_from(command: Command) -> None:
    done = command("models", "list")
    assert (done.returncode, "models pull" in done.stdout) == (0, True)


def test_the_newest_version_is_shown_unless_another_is_named(command: Command, home: Path) -> None:
    publish(home, "tickets", 1)
    publish(home, "tickets", 2)

    newest = json.loads(command("models", "show", "tickets").stdout)
    first = json.loads(command("models", "show", "tickets", "--version", "1").stdout)

    assert (newest["version"], newest["metrics"]) == (2, {"error": 0.01})
    assert (first["version"], list(first["files"])) == (1, ["answers.json"])


@pytest.mark.parametrize(
    ("served_model", "energy"),
    [
        ("", [0.012, "8 W a core, as declared, times 1.50 ms of CPU"]),
        ("vllm: qwen", [None, "unknown: its model runs on another server"]),
    ],
)
def test_energy_is_declared_watts_times_measured_cpu(
    command: Command, home: Path, tmp_path: Path, served_model: str, energy: list[object]
) -> None:
    registry, scratch = Registry(Home(home).registry), tmp_path / "scratch"
    publish_script(registry, scratch, Script())
    takes = Footprint(p50_ms=1.0, p99_ms=2.0, cpu_ms=1.5, load_ms=5.0, memory_mb=100.0)
    manifest = registry.read("support", 1)
    changes = {"version": 2, "footprint": takes, "served_model": served_model}
    registry.publish(msgspec.structs.replace(manifest, **changes), scratch)

    shown = json.loads(command("models", "show", "support", STEPDOWN_SPECIALISTS_WATTS_PER_CORE="8").stdout)

    assert [shown["energy_j_per_answer"], shown["energy_method"]] == energy


def test_a_bundle_is_written_and_says_that_it_serves_nothing_without_a_certificate(
    command: Command, home: Path, tmp_path: Path
) -> None:
    publish_head(Registry(Home(home).registry), tmp_path / "scratch", minilm.create())
    bundle = tmp_path / "support.zip"

    done = command("models", "bundle", "support", "-o", str(bundle))

    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert done.returncode == 0, done.stderr
    assert f"support v1  {bundle.stat().st_size / 1e6:.1f} MB  sha256 {digest}" in done.stdout
    assert "serves nothing" in done.stdout


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "It serves new and learnt texts."),
        ({"threshold": None}, "serves nothing: no certificate is in force for it."),
        ({}, "serves nothing: the task is frozen."),
    ],
)
def test_a_bundle_serves_what_the_gateway_would(
    command: Command, home: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    publish_head(Registry(Home(home).registry), tmp_path / "scratch", minilm.create())
    with open_state(Home(home)) as state:
        state.certifications.put(certified("support", **changes))
        if "frozen" in said:
            state.interventions.freeze("support")

    done = command("models", "bundle", "support", "-o", str(tmp_path / "support.zip"))

    assert said in done.stdout
    with zipfile.ZipFile(tmp_path / "support.zip") as bundle:
        rules = json.loads(bundle.read("support/bundle.json"))["certificates"]
    assert sorted(rules) == (["learnt", "new"] if said.startswith("It serves") else [])


def test_a_version_that_another_machine_did_not_certify_is_not_bundled(
    command: Command, home: Path, tmp_path: Path
) -> None:
    publish_head(Registry(Home(home).registry), tmp_path / "scratch", minilm.create())
    with open_state(Home(home)) as state:
        state.certifications.put(msgspec.structs.replace(certified("support"), digest="0" * 64))

    done = command("models", "bundle", "support", "-o", str(tmp_path / "support.zip"))

    assert (done.returncode, "is not the one that another certified" in done.stderr) == (1, True)
    assert not (tmp_path / "support.zip").exists()


def test_a_specialist_of_another_kind_is_not_bundled(command: Command, home: Path, tmp_path: Path) -> None:
    publish_script(Registry(Home(home).registry), tmp_path / "scratch", Script())

    done = command("models", "bundle", "support", "-o", str(tmp_path / "support.zip"))

    assert done.returncode != 0
    assert "only a head or a tagger can be bundled" in done.stderr


def test_a_base_is_not_bundled(command: Command, home: Path) -> None:
    published = publish(home, "smol", 1)
    shutil.move(published.parent, Home(home).models / "smol")

    done = command("models", "bundle", "smol", "-o", "smol.zip")

    assert (done.returncode, "smol is a base model; only" in done.stderr) == (2, True)


def test_an_unknown_name_is_a_mistake_of_usage(command: Command, home: Path) -> None:
    publish(home, "tickets", 1)
    for action in ("show", "verify"):
        done = command("models", action, "ticket")
        assert (done.returncode, "known: tickets" in done.stderr) == (2, True)


def test_a_changed_file_is_named_and_the_others_are_still_looked_at(command: Command, home: Path) -> None:
    folder = publish(home, "tickets", 1)
    publish(home, "tickets", 2)
    assert command("models", "verify").returncode == 0
    (folder / "answers.json").write_text('["no", "yes"]')

    done = command("models", "verify", "tickets")

    assert done.returncode == 1
    assert "BROKEN  specialist  tickets  v1" in done.stdout
    assert "answers.json was changed" in done.stdout
    assert "ok      specialist  tickets  v2" in done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in the form that needs no conversion, beside files that must not be fetched."""
    root = tmp_path_factory.mktemp("model")
    checkpoint = write_checkpoint(root / "checkpoint")
    build_quantized(checkpoint, "int4", root / "ready")
    (root / "ready" / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    (root / "ready" / "modeling.py").write_text("raise RuntimeError('fetched code was run')")
    (root / "ready" / "pytorch_model.bin").write_bytes(b"pickle")
    return root / "ready"


def pull(home: Path, source: str, hub: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "models", "pull", source],
        env=environment(
            home,
            PYTHONPATH=str(Path(__file__).parents[2]),
            HF_ENDPOINT=hub,
            HF_HOME=str(home.parent / "hub-cache"),
        ),
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.learn
def test_a_model_is_pulled_from_a_hub(model: Path, home: Path, command: Command) -> None:
    """Only what a conversion reads is fetched: no code, no pickled weights. The commit is recorded."""
    with running_hub("Org/Tiny-Llama", "v1", model) as (url, paths):
        pulled = pull(home, "hf:Org/Tiny-Llama@v1", url)
        unknown = pull(home, "hf:Org/Tiny-Llama@v2", url)

    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.startswith("tiny-llama  v1  as fetched")
    assert pulled.stderr.splitlines()[-1] == "publishing tiny-llama"
    assert not [path for path in paths if path.endswith((".py", ".bin"))]
    shown = json.loads(command("models", "show", "tiny-llama").stdout)
    assert (shown["kind"], shown["runtime"]) == ("base", "genai")
    assert shown["card"]["source"] == f"hf:Org/Tiny-Llama@{COMMIT}"
    assert command("models", "verify", "tiny-llama").stdout == "ok      base  tiny-llama  v1\n"
    assert (unknown.returncode, "hf:Org/Tiny-Llama@v2 could not be fetched" in unknown.stderr) == (1, True)


TASK = "task-0123456789ab"


def adopt(home: Path, name: str, version: int) -> None:
    """Let a task have a name, and `version` of its specialist draft."""
    with open_state(Home(home)) as state:
        state.tasks.put(
            TASK, scope="all", contract_hash="", template_text="Sort.", vector=b"", model="gpt-4o"
        )
        state.tasks.names.rename(TASK, name)
        state.certifications.put(msgspec.structs.replace(certified(TASK), version=version))


def test_a_specialist_goes_by_the_name_of_its_task(command: Command, home: Path) -> None:
    publish(home, TASK, 1)
    adopt(home, "tickets", 1)

    assert "specialist tickets           v1*   head" in command("models", "list").stdout
    assert json.loads(command("models", "list", "--json").stdout)[0]["name"] == "tickets"
    assert command("models", "verify", "tickets").stdout == "ok      specialist  tickets  v1\n"
    assert json.loads(command("models", "show", "tickets").stdout)["task"] == TASK
    assert command("models", "pin", "tickets", "--reason", "x").stdout == "tickets: pinned\n"
    assert command("models", "pin", "tickets", "--reason", "x").stdout == "tickets: pinned, as before\n"
    assert command("models", "unpin", "tickets", "--reason", "x").stdout == "tickets: unpinned\n"
    assert command("models", "unpin", "tickets", "--reason", "x").stdout == "tickets: not pinned, as before\n"


def test_a_long_name_is_not_cut(command: Command, home: Path) -> None:
    name = "tickets-that-are-sorted-by-the-department-for-it"
    publish(home, TASK, 1)
    adopt(home, name, 1)

    lines = command("models", "list").stdout.splitlines()

    assert lines[1] == f"specialist {name}"
    assert lines[2].split()[:2] == ["v1*", "head"]
    assert max(map(len, lines)) <= 80


def test_a_version_that_was_never_published_is_one_line(command: Command, home: Path) -> None:
    publish(home, "tickets", 1)

    done = command("models", "show", "tickets", "--version", "7")

    assert (done.returncode, done.stderr) == (2, "stepdown: tickets has no version 7; known: 1\n")


def test_a_version_that_drafts_without_its_files_is_found(command: Command, home: Path) -> None:
    publish(home, TASK, 1)
    adopt(home, "tickets", 2)

    verified = command("models", "verify")
    listed = command("models", "list").stdout
    advised = command("doctor").stdout

    assert (verified.returncode, "BROKEN  specialist  tickets  v2: it drafts" in verified.stdout) == (1, True)
    assert "v2*   its files are gone" in listed
    assert max(map(len, listed.splitlines())) <= 80
    assert "fail  files: gone: the specialist tickets version 2" in advised


def test_what_versions_say_is_shown_beside_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """Without what a terminal would obey, in its width, and with how much is not shown."""
    sides = [Side(version=version, recipe="head", rows=9, draft_ms=1.0, coverage=None) for version in (9, 10)]
    differences = [Difference(text="where is\x1b[2J my card " * 9, first="lost", second="")]
    found = Comparison(
        task=TASK, texts=100, agreement=0.97, first=sides[0], second=sides[1], differences=differences
    )

    print_comparison("tickets", found)

    shown = capsys.readouterr().out.splitlines()
    assert shown[-3:] == ["    v9   lost", "    v10  (refused)", "  and 2 others"]
    assert "\x1b" not in "".join(shown)
    assert max(map(len, shown)) <= 80


def test_a_version_that_takes_over_is_said_in_lines_of_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    detail = "new texts at 5.0%: certified on 389 accepted audits, 0 of them wrong"
    event = Event(task=TASK, kind="certified", version=2, detail=detail)

    assert report_outcome(Outcome(TASK, "tickets", 2, 2), [event], as_json=False) == 0

    shown = capsys.readouterr().out
    assert " ".join(shown.split()) == f"tickets v2 certified: {detail}"
    assert max(map(len, shown.splitlines())) <= 80


def test_a_version_that_may_not_come_back_is_told_what_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    """The log calls it "v1 kept", which is said of the version that drafts on."""
    missing = "new texts at 5.0%: a certificate needs about 41 more audits"
    kept = Event(task="task-1", kind="kept", version=1, detail=missing)

    code = report_outcome(Outcome("task-1", "tickets", version=1, drafting=2), [kept], as_json=False)

    said = " ".join(capsys.readouterr().out.split())
    assert code == 1
    assert said == (
        f"tickets: version 1 was tested on the audits of today: {missing} "
        "tickets: version 2 drafts on, because version 1 could not be certified"
    )
