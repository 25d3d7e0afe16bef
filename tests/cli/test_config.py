"""What `stepdown config show` tells of every setting."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from tests.cli.conftest import Command

FILE = """\
[server]
port = 9000
[policies]
folder = "rules"
[prices."gpt-x"]
input = 1
output = 2.5
[specialists]
encoder = "onnx_folder"
encoder_options = {folder = "encoder", api_key = "sk-hidden"}
"""


def write_file(tmp_path: Path) -> Path:
    file = tmp_path / "etc" / "stepdown.toml"
    file.parent.mkdir()
    file.write_text(FILE)
    return file


def test_every_value_has_its_origin(command: Command, tmp_path: Path) -> None:
    file = write_file(tmp_path)

    shown = command("config", "show", "--config", str(file), "--json", STEPDOWN_SERVER_WORKERS="2")
    by_key = {one["key"]: (one["value"], one["origin"]) for one in json.loads(shown.stdout)}

    assert by_key["server.port"] == (9000, f"{file}:2")
    assert by_key["server.workers"] == (2, "STEPDOWN_SERVER_WORKERS")
    assert by_key["server.host"] == ("127.0.0.1", "default")
    assert by_key["prices.gpt-x.output"] == (2.5, f"{file}:7")
    assert by_key["home"][1] == "STEPDOWN_HOME"


def test_paths_in_a_file_are_relative_to_it(command: Command, tmp_path: Path) -> None:
    file = write_file(tmp_path)

    shown = command("config", "show", "--json", STEPDOWN_CONFIG="etc/stepdown.toml")
    by_key = {one["key"]: one["value"] for one in json.loads(shown.stdout)}

    assert by_key["policies.folder"] == "etc/rules"
    assert by_key["specialists.encoder_options.folder"] == "etc/encoder"
    assert file.exists()


def test_it_is_a_settings_file_without_secrets(command: Command, tmp_path: Path) -> None:
    write_file(tmp_path)

    shown = command(
        "config", "show", "--config", "etc/stepdown.toml", OPENAI_API_KEY="sk-hidden-too",
        OPENAI_BASE_URL="http://me:pass@127.0.0.1:1/v1",
    ).stdout  # fmt: skip

    assert tomllib.loads(shown)["server"]["port"] == 9000
    assert "# upstream.api_key is set: ***" in shown
    assert "hidden" not in shown
    assert "pass" not in shown.replace("passes", "")


def test_the_lines_fit_a_terminal(command: Command) -> None:
    shown = command("config", "show", "--origin", STEPDOWN_HOME="h").stdout

    assert max(map(len, shown.splitlines())) <= 80


def test_several_teachers_are_shown_without_their_keys(command: Command, tmp_path: Path) -> None:
    teacher = (
        '[[teachers]]\nname = "%s"\nbase_url = "https://me:pass@one.example/v1"\ncredential = "ONE_KEY"\n'
    )
    file = tmp_path / "stepdown.toml"
    file.write_text(teacher % "first" + teacher % "second" + 'models = {"*" = "gpt-4o"}\n')

    shown = command("config", "show", "--changed", STEPDOWN_CONFIG=str(file), ONE_KEY="sk-hidden").stdout

    first, second = tomllib.loads(shown)["teachers"]
    assert (first["name"], second["models"]) == ("first", {"*": "gpt-4o"})
    assert "sk-hidden" not in shown
    assert "pass" not in shown


def test_files_of_teachers_are_relative_to_the_settings(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "etc" / "stepdown.toml"
    file.parent.mkdir()
    file.write_text('[[teachers]]\nname = "a"\nca_file = "ca.pem"\nclient_key = "/abs/key.pem"\n')

    shown = command("config", "show", "--changed", STEPDOWN_CONFIG="etc/stepdown.toml").stdout

    (teacher,) = tomllib.loads(shown)["teachers"]
    assert (teacher["ca_file"], teacher["client_key"]) == ("etc/ca.pem", "/abs/key.pem")


def test_teachers_are_shown_as_they_are_written_and_nothing_else_follows(
    command: Command, tmp_path: Path
) -> None:
    """What is printed is a settings file again: no [upstream] beside them, and only what is no default."""
    (tmp_path / "stepdown.toml").write_text(
        '[[teachers]]\nname = "one"\nprovider = "deepseek"\ntrainable = "no"\nmodels = {"*" = "chat"}\n'
    )

    shown = command("config", "show", "--origin").stdout

    again = tmp_path / "again.toml"
    again.write_text(shown)
    assert "upstream." not in shown
    assert (
        re.sub(r" +# .*", "", shown)
        .rstrip()
        .endswith(
            '[[teachers]]\nname = "one"\nbase_url = "https://api.deepseek.com/v1"\ntrainable = "no"\n'
            'provider = "deepseek"\ncredential = "DEEPSEEK_API_KEY"\nmodels = {"*" = "chat"}'
        )
    )
    assert command("config", "show", STEPDOWN_CONFIG=str(again)).returncode == 0


TEACHERS = """\

[[teachers]]
name = "one"
provider = "deepseek"

[[teachers]]
base_url = "https://two.example/v1"
name = "two"
[teachers.models]
"gpt-*" = "x"
"""


def test_each_value_of_each_teacher_has_its_origin(command: Command, tmp_path: Path) -> None:
    """What its provider presets is a default; a table in a table is where its first value is."""
    (tmp_path / "stepdown.toml").write_text(TEACHERS)

    shown = command("config", "show", "--origin", "--changed").stdout.splitlines()
    (listed,) = [
        one
        for one in json.loads(command("config", "show", "--json", "--changed").stdout)
        if one["key"] == "teachers"
    ]

    assert [line.split("  ") [0] for line in shown if line.startswith(("name", "base_url", "models"))] == [
        'name = "one"', 'base_url = "https://api.deepseek.com/v1"',
        'name = "two"', 'base_url = "https://two.example/v1"', 'models = {"gpt-*" = "x"}',
    ]  # fmt: skip
    places = [line.rpartition("# ")[2] for line in shown if " = " in line and "home" not in line]
    assert places[:3] == ["stepdown.toml:3", "default", "stepdown.toml:4"]
    assert places[-3:] == ["stepdown.toml:8", "stepdown.toml:7", "stepdown.toml:10"]
    assert listed["origin"] == "stepdown.toml:2"
    first, second = listed["origins"]
    assert (first["name"], first["base_url"]) == ("stepdown.toml:3", "default")
    assert (second["name"], second["models"]) == ("stepdown.toml:8", "stepdown.toml:10")
    assert set(second) == set(listed["value"][1])
    # The folder of a test has a long name.
    assert max(len(line) for line in shown if not line.startswith("home")) <= 80


def test_a_mistake_in_the_second_teacher_is_found_at_its_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "stepdown.toml").write_text(TEACHERS.replace('"two"', "2"))

    assert "stepdown.toml:8:1 teachers[1].name" in command("config", "show").stderr
