"""Check that stepdown can work here, and advise where it cannot."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from gateway.cli import FAILED, OK, UNREACHABLE

if TYPE_CHECKING:
    from gateway.settings import Settings, Upstream
    from gateway.store.home import Home

OLDEST_PYTHON = (3, 11)
# Below the first nothing could be written soon; the models and the harvest of a day fit into the second.
LEAST_FREE_BYTES, COMFORTABLE_BYTES = 100 << 20, 2 << 30
TIMEOUT_S = 10.0


class Finding(NamedTuple):
    """The result of one check; `advice` says what to do unless it is ok."""

    check: str
    verdict: Literal["ok", "warn", "fail"]
    detail: str
    advice: str = ""
    is_unreachable: bool = False
    """Nothing is wrong here: the teacher does not answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--config", metavar="FILE", help="settings file (stepdown.toml)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print every finding; 0 when nothing fails, 4 when only the teacher is unreachable, else 1."""
    config = {"STEPDOWN_CONFIG": arguments.config} if arguments.config else {}
    findings = []
    for finding in _check_all({**os.environ, **config}):
        findings.append(finding)
        if not arguments.json:
            _print_finding(finding)
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in findings]))
    failed = [finding for finding in findings if finding.verdict == "fail"]
    if all(finding.is_unreachable for finding in failed):
        return UNREACHABLE if failed else OK
    return FAILED


def _print_finding(finding: Finding) -> None:
    print(f"{finding.verdict:5} {finding.check}: {finding.detail}", flush=True)
    if finding.advice:
        print(f"      -> {finding.advice}", flush=True)


def _check_all(environ: dict[str, str]) -> Iterator[Finding]:
    from gateway.errors import ConfigError
    from gateway.settings import read_configuration

    yield _check_python()
    try:
        configuration = read_configuration(environ)
        settings = configuration.settings
    except ConfigError as exc:
        yield Finding("settings", "fail", str(exc), "correct it; the other checks need the settings")
        return
    file = Path(configuration.file).absolute() if configuration.file else "defaults, no stepdown.toml here"
    yield Finding("settings", "ok", f"{file}; admission is '{settings.admission}'")
    yield _check_policies(settings)
    yield _check_home(settings.home.folder)
    yield from _check_files(settings)
    yield from _check_shared_state(settings)
    yield from _check_own_address(settings)
    yield _check_disk(settings.home.folder)
    yield _check_onnxruntime()
    yield _check_encoder(settings)
    if settings.teachers:
        yield from _check_teachers(settings)
    else:
        yield _check_teacher(settings)
    yield _check_gateway(settings.home)


def _check_python() -> Finding:
    version = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "fail", version, "use Python 3.11 or newer")
    return Finding("python", "ok", version)


def _check_policies(settings: Settings) -> Finding:
    from gateway.errors import ConfigError
    from gateway.policy.encoders import check_encoders
    from gateway.policy.load import load_policies
    from gateway.policy.teachers import check_teachers
    from gateway.processes.teachers import ONLY

    try:
        policies = load_policies(settings.policies.folder)
        check_encoders(policies, settings.specialists.encoder)
        check_teachers(policies, [teacher.name for teacher in settings.teachers] or [ONLY])
    except ConfigError as exc:
        return Finding("policies", "fail", str(exc), "correct the file; policies/README.md explains each key")
    folder = settings.policies.folder
    names = ", ".join(policy.name for policy in policies)
    return Finding("policies", "ok", f"{names} ({Path(folder).absolute() if folder else 'as shipped'})")


def _check_home(folder: Path) -> Finding:
    """Look without making anything: the first command that needs the folder makes it."""
    advice = "give this user the folder, or set STEPDOWN_HOME to another one"
    existing = _nearest_existing(folder)
    if not existing.is_dir():
        return Finding("home", "fail", f"{existing} is not a folder", advice)
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return Finding("home", "fail", f"{existing} is not writable", advice)
    return Finding("home", "ok", str(folder) if existing == folder else f"{folder} will be made")


def _check_files(settings: Settings) -> Iterator[Finding]:
    from gateway.store.health import find_faults

    faults = list(find_faults(settings.home))
    for fault in faults:
        # Its last words say what to do.
        detail, _, advice = fault.rpartition(": ")
        yield Finding("files", "fail", detail, advice)
    if not faults and (lost := _find_lost(settings)):
        yield Finding("files", "fail", *lost)
    elif not faults:
        yield Finding("files", "ok", "what is kept in the home is whole")


def _find_lost(settings: Settings) -> tuple[str, str] | None:
    """Return the specialists that should draft but have no files, and what to do; None if there are none."""
    from gateway.processes.registry_access import list_lost_versions
    from gateway.store.state import open_state

    if not settings.home.state_db.exists():
        return None
    with open_state(settings.home) as state:
        lost = [
            f"{state.tasks.names.of(task)} version {version}"
            for task, version in list_lost_versions(settings, state)
        ]
    advice = "put them back from a backup, or `stepdown models rollback TASK --reason WHY`"
    gone = f"gone: the specialist {', '.join(lost)}; what is in memory serves until it is loaded anew"
    return (gone, advice) if lost else None


def _check_shared_state(settings: Settings) -> Iterator[Finding]:
    from gateway.errors import StepdownError
    from gateway.processes.shared_state_check import count_machines

    if not settings.state.is_shared:
        return
    try:
        machines = count_machines(settings)
    except StepdownError as exc:
        yield Finding("shared state", "fail", str(exc), "deploy/CLUSTER.md says what it needs")
        return
    yield Finding("shared state", "ok", f"reached; machines there now: {machines}")


def _check_own_address(settings: Settings) -> Iterator[Finding]:
    from gateway.errors import ConfigError
    from gateway.processes.own_address import refuse_address

    server = settings.server
    try:
        refuse_address(
            settings.upstream.base_url, [(server.host, server.port), (server.host, server.admin_port)]
        )
    except ConfigError as exc:
        yield Finding("teacher", "fail", str(exc), "a gateway cannot be its own teacher")


def _check_disk(folder: Path) -> Finding:
    free = shutil.disk_usage(_nearest_existing(folder)).free
    detail = f"{free / 1e9:.1f} GB free for {folder}"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "fail", detail, "free some space, or set STEPDOWN_HOME to another disk")
    if free < COMFORTABLE_BYTES:
        return Finding("disk", "warn", detail, "harvest and models grow: have a few GB free")
    return Finding("disk", "ok", detail)


def _check_onnxruntime() -> Finding:
    try:
        import onnxruntime
    except ImportError as exc:
        return Finding("onnxruntime", "fail", str(exc), "install it again: `make env`")
    return Finding("onnxruntime", "ok", str(onnxruntime.__version__))


def _check_encoder(settings: Settings) -> Finding:
    from gateway.errors import StepdownError
    from gateway.specialists.encoders import create_encoder

    specialists = settings.specialists
    try:
        encoder = create_encoder(specialists.encoder, json.dumps(specialists.encoder_options))
    except (StepdownError, ImportError) as exc:
        return Finding("encoder", "fail", str(exc), "no specialist can serve without it: `make env`")
    return Finding("encoder", "ok", f"{encoder.name}, {encoder.dimension} dimensions")


def _check_teacher(settings: Settings) -> Finding:
    import asyncio

    from gateway.errors import ConfigError, UpstreamCredentialError, UpstreamError

    url = settings.upstream.base_url
    try:
        status = asyncio.run(_ask_for_models(settings.upstream))
    except ConfigError as exc:
        return Finding("teacher", "fail", str(exc), "correct [upstream] in the settings")
    except UpstreamCredentialError as exc:
        return Finding("teacher", "fail", f"{url}: {exc}", "set OPENAI_API_KEY to a key that it accepts")
    except UpstreamError as exc:
        advice = "check OPENAI_BASE_URL, the network, and [upstream] use_proxy"
        return Finding("teacher", "fail", f"{url}: {exc}", advice, is_unreachable=True)
    if status in {401, 403}:
        return Finding("teacher", "ok", f"{url} asks for a key ({status}): clients send their own")
    if status >= 400:
        advice = "check OPENAI_BASE_URL: it stands for the /v1 of a path"
        return Finding("teacher", "warn", f"{url} answered GET /v1/models with {status}", advice)
    return Finding("teacher", "ok", url)


def _check_teachers(settings: Settings) -> Iterator[Finding]:
    import asyncio

    from gateway.processes.teacher_check import check_all

    for check in asyncio.run(check_all(settings)):
        name = f"teacher {check.name}"
        if check.problem:
            detail = f"{check.base_url}: {check.problem}"
            advice = "correct its base_url or its credential in [[teachers]]"
            yield Finding(name, "fail", detail, advice, is_unreachable=check.is_unreachable)
        elif check.missing:
            detail = f"{check.base_url} does not list {', '.join(check.missing)}"
            yield Finding(name, "warn", detail, "correct `models` in [[teachers]]")
        elif check.retirements:
            detail = ", ".join(f"{model} retires on {day}" for model, day in check.retirements.items())
            yield Finding(name, "warn", detail, "name its successor in `models` in [[teachers]]")
        else:
            yield Finding(name, "ok", f"{check.base_url}, {check.latency_ms:.0f} ms")


async def _ask_for_models(upstream: Upstream) -> int:
    """Return the status of the teacher's list of models. Raises ConfigError, UpstreamError."""
    import msgspec

    from gateway.processes.teachers import create_teacher
    from gateway.upstream.base import Call

    teacher = create_teacher(msgspec.structs.replace(upstream, retries=0, first_byte_timeout_s=TIMEOUT_S))
    try:
        reply = await teacher.ask(Call(method="GET", target=b"/v1/models", headers=(), is_repeatable=True))
        await reply.body.aclose()
        return reply.status
    finally:
        await teacher.close()


def _check_gateway(home: Home) -> Finding:
    import urllib.error
    import urllib.request

    from gateway.errors import UpstreamError
    from gateway.store.run_file import read_run_file

    try:
        run = read_run_file(home)
    except UpstreamError:
        return Finding("gateway", "ok", "none runs from this home: `stepdown serve` starts one")
    try:
        with urllib.request.urlopen(f"{run.url}/healthz", timeout=TIMEOUT_S):  # noqa: S310 - our own address
            return Finding("gateway", "ok", f"runs at {run.url}/v1 (process {run.pid})")
    except (urllib.error.URLError, OSError) as exc:
        detail = f"process {run.pid} should answer at {run.url}: {exc}"
        return Finding("gateway", "warn", detail, "it was killed or hangs: start `stepdown serve` again")


def _nearest_existing(path: Path) -> Path:
    """Return `path`, or the closest folder above it that exists."""
    return next(one for one in (path, *path.parents) if one.exists())
