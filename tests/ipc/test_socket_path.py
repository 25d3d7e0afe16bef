"""Unix sockets are for one user alone, in folders of any length."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.ipc.socket_path import StrangerError, connect_privately, listen_privately

LISTEN_AS_ANOTHER = """
import os, socket, sys
os.setuid(1234)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
os.chmod(sys.argv[1], 0o777)
print("up", flush=True)
connected, _ = listener.accept()
print(connected.recv(100), flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def test_the_socket_is_for_its_owner_only(folder: Path) -> None:
    with listen_privately(folder / "host.sock"):
        assert stat.S_IMODE((folder / "host.sock").stat().st_mode) == 0o600


def test_a_folder_of_any_length_will_do(folder: Path) -> None:
    """No other place is taken: a guessable one could be anybody's."""
    deep = folder / ("long" * 25) / ("deep" * 25)
    deep.mkdir(parents=True)
    deep.chmod(0o700)

    with listen_privately(deep / "host.sock") as listener, connect_privately(deep / "host.sock") as sender:
        receiver, _ = listener.accept()
        with receiver:
            sender.sendall(b"hello")
            assert receiver.recv(10) == b"hello"


@pytest.mark.parametrize("mode", [0o770, 0o755, 0o1777])
def test_a_folder_that_others_may_enter_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)

    with pytest.raises(PermissionError, match="0700"):
        listen_privately(folder / "host.sock")


def test_the_socket_of_an_earlier_host_is_replaced(folder: Path) -> None:
    listen_privately(folder / "host.sock").close()

    listen_privately(folder / "host.sock").close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_nothing_is_sent_to_another_user() -> None:
    """Before this check another user, quicker than our host, read prompts and answered them."""
    shared = Path("/tmp") / f"stepdown-test-{os.getpid()}"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    path = shared / "host.sock"
    program = [sys.executable, "-c", LISTEN_AS_ANOTHER, str(path)]
    try:
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as stranger:
            assert stranger.stdout is not None
            assert stranger.stdout.readline() == "up\n"

            with pytest.raises(StrangerError, match="user 1234"):
                connect_privately(path)

            assert stranger.stdout.readline() == "b''\n"
    finally:
        path.unlink(missing_ok=True)
        shared.rmdir()


def test_a_missing_host_is_a_plain_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect_privately(folder / "host.sock")


def test_nothing_is_connected_after_the_host_has_gone(folder: Path) -> None:
    listen_privately(folder / "host.sock").close()

    with pytest.raises(ConnectionRefusedError):
        connect_privately(folder / "host.sock")
