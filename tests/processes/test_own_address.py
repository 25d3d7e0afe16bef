"""A gateway is never its own teacher: it does not start, and what comes back to it is refused."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.processes.own_address import refuse_address
from tests.support.processes import gateway_process, stepdown
from tests.support.teacher import running_teacher


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080/v1"),
        ("127.0.0.1", "http://localhost:8080/v1"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.9:8080"),
        ("127.0.0.1", "http://0.0.0.0:8080/v1"),
        ("::1", "http://[::1]:8080/v1"),
    ],
)
def test_its_own_address_is_refused(host: str, base_url: str) -> None:
    with pytest.raises(ConfigError, match=r"is this gateway's own: set OPENAI_BASE_URL"):
        refuse_address(base_url, [(host, 8080)])


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:8081/v1",
        "http://127.0.0.2:8080/v1",
        "https://api.openai.com/v1",
        "http://192.0.2.1:8080",
    ],
)
def test_another_address_is_a_teacher(base_url: str) -> None:
    refuse_address(base_url, [("127.0.0.1", 8080)])


def test_a_start_with_its_own_address_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    refused = stepdown(
        tmp_path / "home", "serve", "--open", "--port", str(port), "--admin-port", "0",
        OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1",
    )  # fmt: skip

    assert refused.returncode == 2
    assert "is this gateway's own" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_request_that_comes_back_is_refused_and_not_multiplied(tmp_path: Path) -> None:
    """The loop leads over an address that is not the gateway's own. Before, one request became 1,035."""
    with relay() as (port, lead_to, passed):
        teacher = f"http://127.0.0.1:{port}/v1"
        with gateway_process(
            tmp_path / "home", "--open", OPENAI_BASE_URL=teacher, STEPDOWN_LEARN_ENABLED="false"
        ) as gateway:
            lead_to(gateway.port)

            got = gateway.chat(model="gpt-4o")

            assert (got.status, got.header("x-should-retry")) == (508, "false")
            assert b'"code":"gateway_loop"' in got.body
            assert len(passed) == 1


def test_a_chain_of_gateways_answers(tmp_path: Path) -> None:
    quiet = {"STEPDOWN_LEARN_ENABLED": "false"}
    with (
        running_teacher({"ping": "pong"}) as teacher,
        gateway_process(tmp_path / "back", "--open", OPENAI_BASE_URL=teacher.base_url, **quiet) as back,
        gateway_process(tmp_path / "front", "--open", OPENAI_BASE_URL=back.base_url, **quiet) as front,
    ):
        assert front.chat(model="gpt-4o").status == 200


@contextmanager
def relay() -> Iterator[tuple[int, Callable[[int], None], list[int]]]:
    """Give a port that leads to another, the function that says to which, and what has come through."""
    target: list[int] = []
    passed: list[int] = []

    class Pipe(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            passed.append(self.client_address[1])
            with socket.create_connection(("127.0.0.1", target[0])) as onward:
                back = threading.Thread(target=pump, args=(onward, self.request), daemon=True)
                back.start()
                pump(self.request, onward)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Pipe) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], target.append, passed
        server.shutdown()


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
