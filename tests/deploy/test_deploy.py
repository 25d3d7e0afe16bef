"""The files in deploy/: linted with the tools that are installed, and at one with each other."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def run(*words: str) -> str:
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def read_unit() -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "stepdown.service")
    return unit


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "stepdown.service").read_text()
    unit = tmp_path / "stepdown.service"
    # What it starts must be there to be verified.
    unit.write_text(text.replace("/usr/local/bin/stepdown", "/bin/true"))

    said = run("systemd-analyze", "verify", str(unit))

    assert "stepdown.service" not in said, said


def test_the_unit_names_no_folder_of_the_code() -> None:
    service = read_unit()["Service"]

    assert service["ExecStart"].split()[0] == "/usr/local/bin/stepdown"
    assert service["WorkingDirectory"] == f"/etc/{service['ConfigurationDirectory']}"
    assert service["Environment"] == f"STEPDOWN_HOME=/var/lib/{service['StateDirectory']}"


@pytest.mark.skipif(not shutil.which("hadolint"), reason="no hadolint")
def test_hadolint_finds_nothing_wrong_with_the_image() -> None:
    run("hadolint", str(DEPLOY / "Dockerfile"))


def test_the_image_keeps_its_state_in_a_volume_and_is_checked() -> None:
    home = re.search(r"^ENV STEPDOWN_HOME=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert home is not None
    assert f"VOLUME {home[1]}\n" in DOCKERFILE
    assert "HEALTHCHECK" in DOCKERFILE
    assert DOCKERFILE.index("USER 10001") < DOCKERFILE.index("ENTRYPOINT")
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {".git", ".stepdown", ".venv", "deploy/openai.key"} <= set(ignored)


def test_compose_mounts_only_files_that_are_there_or_named_volumes() -> None:
    for name, service in COMPOSE["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"
        assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()


def test_compose_opens_ports_on_this_machine_alone() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_prometheus_scrapes_the_admin_port_under_the_name_that_alerts_use() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    [job] = config["scrape_configs"]

    assert (job["job_name"], job["static_configs"]) == ("stepdown", [{"targets": ["127.0.0.1:8081"]}])
    assert COMPOSE["services"]["prometheus"]["network_mode"] == "service:stepdown"
    assert all((DEPLOY / "prometheus" / name).exists() for name in config["rule_files"])


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool: `make promtool` fetches it")
def test_promtool_finds_nothing_wrong_with_the_configuration() -> None:
    run("promtool", "check", "config", str(DEPLOY / "prometheus/prometheus.yaml"))
