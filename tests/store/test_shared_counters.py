"""Workers count together: exactly, without leaks of killed ones, and on a disk that is full."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.store.cell_lock import LOCK_PATIENCE_S
from gateway.store.shared_counters import CELLS, Cell, Counters, create_counters

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    create_counters(tmp_path / "counters", 3)
    return tmp_path / "counters"


def add(cell: Cell, count: int) -> None:
    for _ in range(count):
        with cell.lock:
            cell.value += 1


def add_in_worker(file: Path, number: int, count: int) -> None:
    add(Counters(file, number).cell("key"), count)


def hold(file: Path, ready: Connection, action: str) -> None:
    cell = Counters(file, 1).cell("key")
    cell.own = 5
    if action == "lock":
        cell.lock.__enter__()
    ready.send(True)
    signal.pause()


def start(target: Callable[..., None], *arguments: Any) -> Any:
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    return process


def test_no_count_is_lost_between_processes(file: Path) -> None:
    workers = [start(add_in_worker, file, number, 3_000) for number in range(3)]
    for worker in workers:
        worker.join()

    assert Counters(file).cell("key").value == 9_000


def test_no_count_is_lost_between_threads(file: Path) -> None:
    counters = Counters(file)
    threads = [threading.Thread(target=add, args=(counters.cell("key"), 3_000)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counters.cell("key").value == 9_000


def test_the_numbers_of_workers_add_up_and_go_when_the_worker_starts_again(file: Path) -> None:
    first, second = Counters(file, 0), Counters(file, 1)
    first.cell("key").own, second.cell("key").own = 2, 3
    assert first.cell("key").total == 5

    Counters(file, 1)

    assert first.cell("key").total == 2


@pytest.mark.parametrize("action", ["count", "lock"])
def test_a_killed_worker_leaves_no_lock_and_its_successor_no_count(file: Path, action: str) -> None:
    mine, theirs = SPAWN.Pipe()
    worker = start(hold, file, theirs, action)
    assert mine.recv()
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()

    cell = Counters(file, 1).cell("key")
    add(cell, 1)

    assert (cell.value, cell.total) == (1, 0)


def test_a_worker_that_is_stopped_inside_its_lock_stops_no_other(file: Path) -> None:
    mine, theirs = SPAWN.Pipe()
    worker = start(hold, file, theirs, "lock")
    assert mine.recv()
    assert LOCK_PATIENCE_S < 1

    add(Counters(file, 0).cell("key"), 3)

    assert Counters(file, 0).cell("key").value == 3
    worker.kill()
    worker.join()


def test_two_names_have_two_cells(file: Path) -> None:
    counters = Counters(file)
    cells = [counters.cell(f"key-{number}") for number in range(2_000)]
    for number, cell in enumerate(cells):
        cell.value = number

    assert [Counters(file, 2).cell(f"key-{number}").value for number in range(2_000)] == list(range(2_000))


def test_the_whole_file_is_taken_from_the_disk_when_it_is_made(file: Path) -> None:
    """A hole that a full disk cannot fill would kill the process that writes there."""
    found = file.stat()

    assert found.st_blocks * 512 >= found.st_size
    assert found.st_mode & 0o077 == 0


def test_shared_values_outlive_a_restart_and_another_number_of_workers(file: Path) -> None:
    cell = Counters(file, 2).cell("key")
    cell.value, cell.stamp, cell.own = 1.5, 7, 9
    create_counters(file, 3)
    assert Counters(file).cell("key").value == 1.5

    create_counters(file, 5)

    cell = Counters(file, 4).cell("key")
    assert (cell.value, cell.stamp, cell.total) == (1.5, 7, 0)


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"stepdown counters 1\0\0\0\0\0" + b"\1" * 16])
def test_a_damaged_file_is_made_anew_at_the_start(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    create_counters(file, 3)

    assert Counters(file, 2).is_shared


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_without_a_usable_file_a_worker_counts_alone(
    file: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Limits then hold per worker: an answer is worth more than the exact count."""
    file.unlink() if damage == "missing" else os.truncate(file, 1_000)

    counters = Counters(file, 2)
    add(counters.cell("key"), 2)

    assert (counters.is_shared, counters.cell("key").value) == (False, 2)
    assert "in each worker alone" in caplog.text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="counters cannot be made"):
        create_counters(tmp_path / "missing" / "counters", 1)


def test_a_name_beyond_the_last_cell_counts_in_its_worker(file: Path) -> None:
    counters = Counters(file)
    counters.floats[:CELLS] = memoryview(bytes([1]) * CELLS * 8).cast("d")

    add(counters.cell("one more"), 2)

    assert counters.cell("one more").value == 2


def test_a_reader_changes_nothing(file: Path) -> None:
    worker = Counters(file, 0)
    worker.cell("key").own = 4

    reader = Counters(file, None)

    assert (reader.cell("key").total, reader.cell("unknown").value) == (4, 0)
    reader.close()
    assert worker.cell("key").total == 4
