from __future__ import annotations

import json
import socket
from pathlib import Path

import msgspec
import pytest

from gateway.sharing.contact import ContactReport, write_contact_report
from gateway.store.home import Home
from gateway.store.run_file import RunFile, write_run_file
from tests.cli.conftest import Command
from tests.support.processes import gateway_process, stepdown
from tests.support.teacher import RunningTeacher
from tests.support.valkey import running_valkey

CHECKS = [
    "python",
    "settings",
    "policies",
    "home",
    "files",
    "disk",
    "onnxruntime",
    "encoder",
    "teacher",
    "gateway",
]
Findings = dict[str, dict[str, str]]


def run_doctor(command: Command, **more: str) -> tuple[int, Findings]:
    """Return the exit code and the findings by check."""
    ended = command("doctor", "--json", **more)
    assert ended.stderr == ""
    return ended.returncode, {finding["check"]: finding for finding in json.loads(ended.stdout)}


@pytest.fixture
def silent() -> str:
    """An address without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}/v1"


def test_everything_is_well(command: Command, teacher: RunningTeacher, home: Path) -> None:
    code, findings = run_doctor(command, OPENAI_BASE_URL=teacher.base_url, OPENAI_API_KEY="sk-teacher")

    assert code == 0
    assert list(findings) == CHECKS
    assert {finding["verdict"] for finding in findings.values()} == {"ok"}
    assert not home.exists(), "looking makes nothing"


def test_each_check_is_a_line_for_people(command: Command, teacher: RunningTeacher) -> None:
    printed = command("doctor", OPENAI_BASE_URL=teacher.base_url, OPENAI_API_KEY="sk-teacher").stdout

    assert [line.split()[1].rstrip(":") for line in printed.splitlines()] == CHECKS


def test_a_damaged_file_is_named(command: Command, teacher: RunningTeacher, home: Path) -> None:
    home.mkdir()
    (home / "state.db").write_bytes(b"no database" * 100)

    code, findings = run_doctor(command, OPENAI_BASE_URL=teacher.base_url, OPENAI_API_KEY="sk-teacher")

    assert (code, findings["files"]["verdict"]) == (1, "fail")
    assert "state.db: damaged" in findings["files"]["detail"]
    assert "backup" in findings["files"]["advice"]


def test_a_refused_key_is_a_failure_with_its_status(command: Command, teacher: RunningTeacher) -> None:
    code, findings = run_doctor(command, OPENAI_BASE_URL=teacher.base_url, OPENAI_API_KEY="sk-wrong")

    assert (code, findings["teacher"]["verdict"]) == (1, "fail")
    assert "401" in findings["teacher"]["detail"]
    assert "OPENAI_API_KEY" in findings["teacher"]["advice"]


def test_a_gateway_without_a_key_is_well_when_the_teacher_asks_for_one(
    command: Command, teacher: RunningTeacher
) -> None:
    code, findings = run_doctor(command, OPENAI_BASE_URL=teacher.base_url)

    assert (code, findings["teacher"]["verdict"]) == (0, "ok")
    assert "401" in findings["teacher"]["detail"]


def test_an_unreachable_teacher_alone_has_its_own_exit_code(command: Command, silent: str) -> None:
    code, findings = run_doctor(command, OPENAI_BASE_URL=silent)

    assert (code, findings["teacher"]["verdict"]) == (4, "fail")


def test_an_unreachable_teacher_beside_a_failure_is_a_failure(
    command: Command, silent: str, tmp_path: Path
) -> None:
    code, _ = run_doctor(command, OPENAI_BASE_URL=silent, STEPDOWN_POLICIES_FOLDER=str(tmp_path / "none"))

    assert code == 1


def test_a_base_url_with_a_wrong_path_is_a_warning(command: Command, teacher: RunningTeacher) -> None:
    url = teacher.base_url.replace("/v1", "/v2")

    code, findings = run_doctor(command, OPENAI_BASE_URL=url, OPENAI_API_KEY="sk-teacher")

    assert (code, findings["teacher"]["verdict"]) == (0, "warn")
    assert "404" in findings["teacher"]["detail"]


def test_wrong_settings_end_the_checks(command: Command, tmp_path: Path) -> None:
    (tmp_path / "stepdown.toml").write_text("[server]\nprot = 1\n")

    code, findings = run_doctor(command)

    assert (code, list(findings)) == (1, ["python", "settings"])
    assert "stepdown.toml:2:1 unknown key 'prot'" in findings["settings"]["detail"]


@pytest.mark.parametrize(
    ("check", "variable", "detail"),
    [
        ("policies", "STEPDOWN_POLICIES_FOLDER", "is not a folder"),
        ("home", "STEPDOWN_HOME", "is not a folder"),
        ("encoder", "STEPDOWN_SPECIALISTS_ENCODER", "unknown encoder"),
    ],
)
def test_what_cannot_be_used_is_named(
    command: Command, teacher: RunningTeacher, tmp_path: Path, *, check: str, variable: str, detail: str
) -> None:
    (tmp_path / "file").touch()

    code, findings = run_doctor(
        command, OPENAI_BASE_URL=teacher.base_url, **{variable: str(tmp_path / "file")}
    )

    assert (code, findings[check]["verdict"]) == (1, "fail")
    assert detail in findings[check]["detail"]
    assert findings[check]["advice"]


def test_a_gateway_that_was_killed_is_a_warning(
    command: Command, teacher: RunningTeacher, home: Path, silent: str
) -> None:
    home.mkdir()
    unreachable = silent.removesuffix("/v1")
    Home(home).run_file.write_bytes(
        msgspec.json.encode(RunFile(pid=1, url=unreachable, admin_url=unreachable))
    )

    code, findings = run_doctor(command, OPENAI_BASE_URL=teacher.base_url)

    assert (code, findings["gateway"]["verdict"]) == (0, "warn")


def test_a_running_gateway_is_found(home: Path, teacher: RunningTeacher) -> None:
    with gateway_process(
        home, "--open", OPENAI_BASE_URL=teacher.base_url, STEPDOWN_LEARN_ENABLED="false"
    ) as gateway:
        ended = stepdown(home, "doctor", OPENAI_BASE_URL=teacher.base_url)

    assert f"ok    gateway: runs at {gateway.base_url} (process {gateway.process.pid})\n" in ended.stdout


def test_a_machine_that_goes_on_alone_is_a_failure_though_valkey_answers_here(
    command: Command, teacher: RunningTeacher, home: Path
) -> None:
    """The copy of a home is refused under the name of the first machine, but a command is not."""
    with running_valkey() as valkey:
        Home(home).make()
        environment = {
            "OPENAI_BASE_URL": teacher.base_url,
            "OPENAI_API_KEY": "sk-teacher",
            "STEPDOWN_STATE_URL": valkey.url,
        }
        _, findings = run_doctor(command, **environment)
        assert findings["shared state"]["verdict"] == "ok"

        write_run_file(Home(home), RunFile(pid=1, url="http://127.0.0.1:9", admin_url="http://127.0.0.1:9"))
        write_contact_report(Home(home), ContactReport(state="away", why="another machine has this name"))
        _, findings = run_doctor(command, **environment)

    assert findings["shared state"]["verdict"] == "fail"
    assert "another machine has this name" in findings["shared state"]["detail"]
