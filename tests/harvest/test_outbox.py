"""The outbox: durable once flushed, bounded, and silent towards its caller whatever the disk does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.reader import HarvestReader

ROWS = """
import json, resource, sys
from pathlib import Path
from gateway.harvest.base import Row
from gateway.harvest.outbox import Config, Outbox

def row(n, size=0):
    return Row(request_id=f"req-{n}", at=float(n), task="cards", match="fingerprint", model="giant",
               template="feed", template_text="", contract_hash="", text="t" * size, answer="a",
               messages=b"[]", is_held_out=False, propensity=0.0)
"""

PUT_UNTIL_KILLED = (
    ROWS
    + """
outbox = Outbox(Path(sys.argv[1]))
for n in range(1_000_000):
    outbox.put(row(n))
    if n % 10 == 9:
        outbox.flush()
        print(n, flush=True)
"""
)

FILL_THE_DISK = (
    ROWS
    + """
outbox = Outbox(Path(sys.argv[1]), Config(max_queue_rows=50, retry_s=0.01))
outbox.flush()
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, unlimited[1]))
for n in range(100):
    outbox.put(row(n, size=20_000))
while not outbox.faults:
    outbox.flush()
full = {"accepted": outbox.accepted, "dropped": outbox.dropped, "faults": outbox.faults}
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
while outbox.waiting:
    outbox.flush()
print(json.dumps(full | {"written": outbox.written}))
outbox.close()
"""
)

CLOSE_ON_A_FULL_DISK = (
    ROWS
    + """
outbox = Outbox(Path(sys.argv[1]), Config(retry_s=3600.0))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for n in range(10):
    outbox.put(row(n))
outbox.close()
print(json.dumps({"accepted": outbox.accepted, "dropped": outbox.dropped, "written": outbox.written}))
"""
)


def run(program: str, path: Path) -> dict[str, int]:
    # Pipes for both: the programs limit the size of files, and a log file is one, too.
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, check=True)
    told: dict[str, int] = json.loads(done.stdout)
    return told


def test_a_flushed_row_comes_back_whole(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    box = outbox()
    sent = row(is_held_out=True, match="embedding", prompt_tokens=7, caller="key-1")

    assert box.put(sent)
    box.flush()

    assert HarvestReader(folder).rows("cards").rows == [sent]


def test_a_killed_worker_loses_nothing_it_had_flushed(folder: Path) -> None:
    """After kill -9 every row is there which a flush had covered, and the file still takes rows."""
    path = folder / "worker-0.db"
    with subprocess.Popen(
        [sys.executable, "-c", PUT_UNTIL_KILLED, str(path)], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        flushed = [int(worker.stdout.readline()) for _ in range(20)][-1]
        worker.send_signal(signal.SIGKILL)

    survivors = {row.request_id for row in HarvestReader(folder).rows("cards").rows}

    assert {f"req-{n}" for n in range(flushed + 1)} <= survivors


def test_a_full_disk_costs_only_what_the_queue_cannot_hold(folder: Path) -> None:
    """Rows wait while there is no room, then are dropped and counted; the rest is written once there is."""
    told = run(FILL_THE_DISK, folder / "worker-0.db")

    assert told["faults"] > 0
    assert told["dropped"] > 0
    assert told["accepted"] + told["dropped"] == 100
    assert told["written"] == told["accepted"]
    assert len(HarvestReader(folder).rows("cards").rows) == told["accepted"]


def test_closing_on_a_full_disk_ends(folder: Path) -> None:
    """What the disk refuses even then is counted as dropped."""
    told = run(CLOSE_ON_A_FULL_DISK, folder / "worker-0.db")

    assert told == {"accepted": 10, "dropped": 10, "written": 0}


def test_a_full_queue_drops_and_counts(outbox: Callable[..., Outbox], row: Callable[..., Row]) -> None:
    """`put` says so and returns at once."""
    box = outbox(max_queue_rows=3, linger_s=60.0)

    taken = [box.put(row()) for _ in range(5)]

    assert taken == [True, True, True, False, False]
    assert box.dropped == 2


def test_the_queue_is_bounded_in_bytes_too(outbox: Callable[..., Outbox], row: Callable[..., Row]) -> None:
    box = outbox(max_queue_mb=1, linger_s=60.0)

    taken = [box.put(row(messages=b"x" * 600_000)) for _ in range(3)]

    assert taken == [True, True, False]


def test_a_row_which_sqlite_cannot_hold_does_not_hold_up_the_rest(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    """A teacher may report absurd numbers; its row alone is dropped."""
    box = outbox()
    for tokens in (1, 10**30, 2):
        box.put(row(prompt_tokens=tokens))
    box.flush()

    assert [kept.prompt_tokens for kept in HarvestReader(folder).rows("cards").rows] == [1, 2]
    assert box.dropped == 1


def test_closing_writes_what_waits(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    box = outbox(linger_s=60.0)
    box.put(row())

    box.close()

    assert len(HarvestReader(folder).rows("cards").rows) == 1


def test_a_closed_outbox_takes_nothing(outbox: Callable[..., Outbox], row: Callable[..., Row]) -> None:
    box = outbox()
    box.close()

    assert not box.put(row())


def test_workers_write_side_by_side_while_the_learner_reads(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    """Incremental readings during the writing see every row exactly once."""
    boxes = [outbox(n, batch_rows=16, linger_s=0.001) for n in range(3)]

    def fill(box: Outbox) -> None:
        for n in range(500):
            box.put(row(request_id=f"{box.path.name}-{n}"))
        box.flush()

    threads = [Thread(target=fill, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    reader, seen, cursor = HarvestReader(folder), [], None
    is_last = False
    while not is_last:
        is_last = not any(thread.is_alive() for thread in threads)
        batch = reader.rows("cards", cursor)
        seen += [each.request_id for each in batch.rows]
        cursor = batch.cursor

    assert len(seen) == 1500
    assert len(set(seen)) == 1500
