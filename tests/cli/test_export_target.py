"""An export is there whole or not at all, however its command ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.harvest.export_target import open_file, open_folder
from gateway.errors import ConfigError

_KILLED = """
import os, signal, sys
from pathlib import Path
from gateway.cli.harvest import export_target
with getattr(export_target, sys.argv[1])(Path(sys.argv[2])) as target:
    target.write(b"half") and target.flush() if sys.argv[1] == "open_file" else (target / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_within(function: str, target: Path) -> None:
    """Begin an export in a process that is killed half-way."""
    ended = subprocess.run([sys.executable, "-c", _KILLED, function, str(target)], check=False)
    assert ended.returncode == -signal.SIGKILL


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_killed_export_leaves_the_file_before_and_the_next_one_no_rest(tmp_path: Path) -> None:
    out = tmp_path / "rows[1].jsonl"
    out.write_bytes(b"the last export")

    kill_within("open_file", out)
    assert out.read_bytes() == b"the last export"
    with open_file(out) as stream:
        stream.write(b"whole")

    assert out.read_bytes() == b"whole"
    assert names_in(tmp_path) == [out.name]


def test_a_killed_data_set_is_written_by_the_same_command_again(tmp_path: Path) -> None:
    kill_within("open_folder", tmp_path / "set")
    assert not (tmp_path / "set").exists()

    with open_folder(tmp_path / "set") as folder:
        (folder / "train.jsonl").touch()

    assert names_in(tmp_path) == ["set"]
    assert names_in(tmp_path / "set") == ["train.jsonl"]


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--out"), open_file(tmp_path / "rows.jsonl"):
        raise OSError(28, "No space left on device")
    with pytest.raises(ConfigError, match="--dataset"), open_folder(tmp_path / "set"):
        raise OSError(28, "No space left on device")

    assert names_in(tmp_path) == []


def test_a_link_and_a_device_are_written_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")

    for target in (tmp_path / "link", Path(os.devnull)):
        with open_file(target) as stream:
            stream.write(b"whole")

    assert (tmp_path / "file").read_bytes() == b"whole"
    assert (tmp_path / "link").is_symlink()
    assert Path(os.devnull).is_char_device()
