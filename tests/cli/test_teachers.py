"""The teachers of the settings, and whether each can be used."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.teacher import RunningTeacher


def as_one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def settings(tmp_path: Path, teacher: RunningTeacher) -> Path:
    """Two teachers at one address, of which the second is called with a wrong key and model."""
    file = tmp_path / "stepdown.toml"
    file.write_text(
        f'''
[[teachers]]
name = "first"
base_url = "{teacher.base_url}"
credential = "KEY_A"
models = {{ "small" = "gpt-4o" }}
[[teachers]]
name = "second"
base_url = "{teacher.base_url}"
credential = "KEY_B"
models = {{ "small" = "gpt-9" }}
trainable = "no"
'''
    )
    return file


@pytest.mark.usefixtures("settings")
def test_the_list_shows_what_is_configured_and_no_key(command: Command) -> None:
    listed = command("teachers", "list", KEY_A="sk-secret").stdout

    lines = listed.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["first", "second"]
    assert "KEY_B; small -> gpt-9; trainable: no" in as_one_line(listed)
    assert "sk-secret" not in listed


def test_no_line_is_wider_than_a_terminal_and_no_name_is_broken(command: Command, tmp_path: Path) -> None:
    models = ", ".join(f'"gpt-{number}" = "a-deployment-of-model-{number}"' for number in range(9))
    (tmp_path / "stepdown.toml").write_text(
        '[[teachers]]\nname = "azure-in-sweden-central"\nprovider = "azure"\ncredential = "KEY"\n'
        f'base_url = "https://my-long-resource-name.openai.azure.com"\nmodels = {{ {models} }}\n'
    )

    listed = command("teachers", "list").stdout
    checked = command("teachers", "check").stdout

    assert max(map(len, (listed + checked).splitlines())) <= 80
    for number in range(9):
        assert f"gpt-{number} -> a-deployment-of-model-{number}" in as_one_line(listed)


def test_without_a_list_there_is_one_teacher(command: Command) -> None:
    (only,) = json.loads(command("teachers", "list", "--json").stdout)

    assert (only["name"], only["credential"]) == ("teacher", "each client's own key")


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("names", "keys", "code", "words"),
    [
        (["first"], {"KEY_A": "sk-teacher"}, 0, "1 models"),
        (["second"], {"KEY_B": "sk-teacher"}, 0, "does not list gpt-9"),
        (["second"], {"KEY_B": "sk-wrong"}, 1, "refused the gateway's own key"),
        (["second"], {}, 1, "does not hold its key in KEY_B"),
        (["third"], {}, 2, ""),
    ],
)
def test_a_check_says_what_each_teacher_answers(
    command: Command, names: list[str], keys: dict[str, str], code: int, words: str
) -> None:
    checked = command("teachers", "check", *names, **keys)

    assert checked.returncode == code, checked.stderr
    assert words in as_one_line(checked.stdout)


def test_a_provider_presets_its_address_and_the_variable_of_its_key(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "stepdown.toml"
    file.write_text('[[teachers]]\nname = "a"\nprovider = "deepseek"\n')

    (only,) = json.loads(command("teachers", "list", "--json").stdout)

    assert (only["base_url"], only["credential"]) == ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('provider = "azure"', "provider 'azure' has no address of its own; set base_url"),
        ('provider = "asure"', "unknown provider 'asure'; known: anthropic, azure, deepseek"),
    ],
)
def test_a_provider_that_cannot_be_called_stops_the_start(
    command: Command, tmp_path: Path, lines: str, words: str
) -> None:
    (tmp_path / "stepdown.toml").write_text(f'[[teachers]]\nname = "a"\n{lines}\n')

    refused = command("teachers", "list")

    assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr


def test_a_model_that_will_retire_is_a_warning_of_the_check_and_then_in_the_list(
    command: Command, tmp_path: Path
) -> None:
    retiring, staying = {"id": "gpt-4o", "shutdown_date": "2031-12-11"}, {"id": "gpt-5"}
    with answering({"data": [retiring, staying]}) as port:
        (tmp_path / "stepdown.toml").write_text(
            f'[[teachers]]\nname = "a"\nbase_url = "http://127.0.0.1:{port}/v1"\ncredential = "none"\n'
            'models = {"*" = "gpt-4o"}\n'
        )
        (tmp_path / "home").mkdir(exist_ok=True)
        checked = command("teachers", "check", STEPDOWN_HOME=str(tmp_path / "home"))

    known = command("teachers", "list", STEPDOWN_HOME=str(tmp_path / "home"))
    assert (checked.returncode, checked.stdout.split()[0]) == (0, "warn"), checked.stderr
    assert "2 models; gpt-4o retires on 2031-12-11" in checked.stdout
    assert "gpt-4o retires on 2031-12-11" in known.stdout


@contextmanager
def answering(content: object) -> Iterator[int]:
    """Give the port of a server that answers every GET with `content`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_teacher_that_cannot_be_reached_is_said_to_be(command: Command) -> None:
    checked = command("teachers", "check", OPENAI_BASE_URL="http://127.0.0.1:9/v1")

    assert checked.returncode == 4
