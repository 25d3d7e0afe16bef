from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.processes import gateway_process
from tests.support.teacher import RunningTeacher

FREE = ("--port", "0", "--admin-port", "0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1\n", "stepdown.toml:2:1 unknown key 'prot' in [server]; known: host, port,"),
        ("[upstrem]\n", "stepdown.toml:1:2 unknown key 'upstrem'; known: home, server, upstream,"),
        ("[server]\n  port = 'x'\n", "stepdown.toml:2:3 server.port: expected `int`"),
        ("[server]\nlog_format = 'xml'\n", "known: plain, json"),
        ("[server]\nport = \n", "stepdown.toml:2:8 not TOML"),
        ("[upstream]\napi_key = 'sk'\n", "a secret comes from the environment only"),
        ("[server]\nopen = true\nhost = '0.0.0.0'\n", "allowed on a loopback address only"),
    ],
)
def test_a_bad_setting_stops_the_start_with_its_place_and_what_is_allowed(
    command: Command, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "stepdown.toml").write_text(text)

    ended = command("serve", *FREE)

    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_bad_policy_stops_the_start_with_its_place(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "mine.yaml").write_text("policies:\n  - name: x\n    alhpa: 0.1\n")

    ended = command("serve", *FREE, STEPDOWN_POLICIES_FOLDER=str(folder))

    assert ended.returncode == 2
    assert f"{folder}/mine.yaml:3:5 unknown key 'alhpa'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, "each process reads them, and only one says so"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("STEPDOWN_UPSTREAM_PROVIDER", "opnai", "unknown provider 'opnai'; known: "),
        ("STEPDOWN_SPECIALISTS_ENCODER", "minilmm", "unknown encoder 'minilmm'; known: "),
        ("STEPDOWN_LEARN_RECIPES", "haed", "unknown recipe 'haed'; known: "),
        ("STEPDOWN_ROUTING_CLASSIFIERS", "fingerprnt", "unknown classifier 'fingerprnt'; known: "),
    ],
)
def test_an_unknown_extension_stops_the_start(
    command: Command, variable: str, value: str, message: str
) -> None:
    ended = command("serve", *FREE, **{variable: value})

    assert ended.returncode == 2
    assert message in ended.stderr
    assert ended.stdout == "", "it never said that it listens"


def test_open_admission_to_the_network_is_refused(command: Command) -> None:
    ended = command("serve", *FREE, "--open", "--host", "0.0.0.0")

    assert ended.returncode == 2
    assert "loopback" in ended.stderr


def test_a_taken_port_is_named(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = command("serve", "--port", port, "--admin-port", "0")

    assert ended.returncode == 2
    assert ended.stderr == f"stepdown: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_a_second_gateway_on_one_home_is_refused_and_the_first_goes_on(
    command: Command, home: Path, teacher: RunningTeacher
) -> None:
    with gateway_process(
        home, "--open", OPENAI_BASE_URL=teacher.base_url, OPENAI_API_KEY="sk-teacher"
    ) as first:
        ended = command("serve", *FREE)

        assert ended.returncode == 2
        assert ended.stderr.startswith(f"stepdown: another stepdown serves from {home}; ")
        assert first.chat().status == 200
        printed = first.log()
    assert f"stepdown listens on {first.base_url}" in printed
    assert "anybody on this machine" in printed


def test_the_start_says_what_it_uses(tmp_path: Path, teacher: RunningTeacher) -> None:
    """Paths are absolute: the folder of the one who reads the log may be another."""
    home, file = tmp_path / "home", tmp_path / "etc" / "stepdown.toml"
    (file.parent / "rules").mkdir(parents=True)
    (file.parent / "rules" / "mine.yaml").write_text("policies:\n  - name: mine\n")
    file.write_text('[policies]\nfolder = "rules"\n')

    with gateway_process(home, "--config", str(file), OPENAI_BASE_URL=teacher.base_url) as gateway:
        printed = gateway.log()

    assert f"settings: {file}, " in printed
    assert f"policies: {file.parent / 'rules'}\n" in printed
    assert f"state: {home} " in printed
