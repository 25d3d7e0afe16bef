"""kill -9 at any point of moving rows to parts: no committed row is lost, none is there twice.

15 kills here, one at each step of a round in turn; `make soak` makes 150 (PARTS_KILLS).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.harvest.parts.manifests import ManifestLog
from gateway.harvest.parts.parquet import read_rows
from gateway.store.object_storage import LocalFolder
from tests.harvest.parts.conftest import Machine
from tests.support.waiting import PATIENCE_S

KILLS = int(os.environ.get("PARTS_KILLS", "15"))
MOST_STEPS = 24
"""Of a round: more kills than these fall into the writing of the outbox, or after its end."""

ROUND = """
import os, signal, sys
from pathlib import Path
from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.parts import shipping
from gateway.harvest.parts.compaction import Compactor
from gateway.harvest.parts.manifests import ManifestLog
from gateway.store.object_storage import LocalFolder

harvest, parts, first, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

def step():
    global steps
    steps -= 1
    if steps == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def with_steps(call):
    def stepping(*given, **named):
        step()
        result = call(*given, **named)
        step()
        return result
    return stepping

class Mortal(LocalFolder):
    create = with_steps(LocalFolder.create)
    upload = with_steps(LocalFolder.upload)
    delete = with_steps(LocalFolder.delete)

shipping.delete_shipped = with_steps(shipping.delete_shipped)

outbox = Outbox(harvest / "worker-0.db")
for n in range(first, first + 20):
    outbox.put(Row(request_id=f"req-{n}", at=float(n), task=f"task-{n % 2}", match="fingerprint", model="m",
                   template="t", template_text="", contract_hash="", text="text", answer="a", messages=b"[]",
                   is_held_out=n % 4 == 0, propensity=0.1))
outbox.flush()
print(first + 20, flush=True)
log = ManifestLog(Mortal(parts))
shipping.Shipper(harvest, log, batch_rows=16).ship_all()
compactor = Compactor(log, "w", clock=iter(range(0, 10**9, 1_000)).__next__)
compactor.compact()
compactor.compact()
outbox.close()
"""


def run_round(folder: Path, first: int, steps: int) -> tuple[int, bool]:
    """Run a round that is killed at its step number `steps`, if it has so many.

    Return the number of rows that are durable, and whether it was killed.
    """
    arguments = [str(folder / "a" / "harvest"), str(folder / "parts"), str(first), str(steps)]
    done = subprocess.run(
        [sys.executable, "-c", ROUND, *arguments],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return int(done.stdout), done.returncode != 0


def read_parts(storage: LocalFolder) -> Counter[str]:
    """Return how often each request is in the parts that count."""
    table = ManifestLog(storage).refresh()
    return Counter(one.row.request_id for one in read_rows(table.select(), storage))


@pytest.mark.timeout(60 + 20 * KILLS)
def test_killed_at_any_step_each_row_is_there_once(
    tmp_path: Path, storage: LocalFolder, machine: Callable[[str], Machine]
) -> None:
    chosen = random.Random(7)
    steps = [n + 1 if n < MOST_STEPS else chosen.randint(1, MOST_STEPS) for n in range(KILLS)]
    durable = kills = 0
    for kill_at in steps:
        durable, is_killed = run_round(tmp_path, durable, kill_at)
        kills += is_killed
    assert kills >= 0.8 * KILLS

    one = machine("a")
    expected = [f"req-{n}" for n in range(durable)]
    assert one.ids() == sorted(expected)
    one.ship()

    assert read_parts(storage) == Counter(expected)
    assert one.ids() == sorted(expected)
    (count, other) = one.reader.counts().values()
    assert count.training + count.held_out + other.training + other.held_out == durable
