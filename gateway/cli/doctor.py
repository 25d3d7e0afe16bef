"""Check that stepdown can work here, and say what to do where it cannot."""

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
    from gateway.settings import Settings
    from gateway.store.home import Home

OLDEST_PYTHON = (3, 11)
# A learner which cannot write loses what it is given; models and harvest of a day fit into the second.
LEAST_FREE_BYTES, COMFORTABLE_BYTES = 100 << 20, 2 << 30
PATIENCE_S = 10.0


class Finding(NamedTuple):
    """What one check found; `advice` says what to do unless it is ok."""

    check: str
    verdict: Literal["ok", "warn", "fail"]
    detail: str
    advice: str = ""
    is_unreachable: bool = False
    """Nothing is wrong here: the teacher does not answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--config", help="settings file (stepdown.toml)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print every finding; 0 when nothing fails, 4 when only the teacher is unreachable, else 1."""
    config = {"STEPDOWN_CONFIG": arguments.config} if arguments.config else {}
    findings = []
    for finding in _findings({**os.environ, **config}):
        findings.append(finding)
        if not arguments.json:
            _show(finding)
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in findings]))
    failed = [finding for finding in findings if finding.verdict == "fail"]
    if all(finding.is_unreachable for finding in failed):
        return UNREACHABLE if failed else OK
    return FAILED


def _show(finding: Finding) -> None:
    print(f"{finding.verdict:5} {finding.check}: {finding.detail}", flush=True)
    if finding.advice:
        print(f"      -> {finding.advice}", flush=True)


def _findings(environ: dict[str, str]) -> Iterator[Finding]:
    from gateway.errors import ConfigError
    from gateway.settings import read_settings

    yield _python()
    try:
        settings = read_settings(environ)
    except ConfigError as error:
        yield Finding("settings", "fail", str(error), "correct it; the checks below need the settings")
        return
    yield Finding("settings", "ok", f"clients enter by '{settings.admission}'")
    yield _policies(settings)
    yield _home(settings.home.folder)
    yield _disk(settings.home.folder)
    yield _runtime()
    yield _encoder(settings)
    yield _teacher(settings)
    yield _gateway(settings.home)


def _python() -> Finding:
    version = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "fail", version, "use Python 3.11 or newer")
    return Finding("python", "ok", version)


def _policies(settings: Settings) -> Finding:
    from gateway.errors import ConfigError
    from gateway.policy.encoders import check_encoders
    from gateway.policy.load import load_policies

    try:
        policies = load_policies(settings.policies.folder)
        check_encoders(policies, settings.specialists.encoder)
    except ConfigError as error:
        return Finding(
            "policies", "fail", str(error), "correct the file; policies/README.md explains each key"
        )
    return Finding("policies", "ok", ", ".join(policy.name for policy in policies))


def _home(home: Path) -> Finding:
    """Look without making anything: the folder is made by the first command which needs it."""
    advice = "give this user the folder, or set STEPDOWN_HOME to another one"
    nearest = _nearest(home)
    if not nearest.is_dir():
        return Finding("home", "fail", f"{nearest} is not a folder", advice)
    if not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
        return Finding("home", "fail", f"{nearest} is not writable", advice)
    return Finding("home", "ok", str(home) if nearest == home else f"{home} will be made")


def _disk(home: Path) -> Finding:
    free = shutil.disk_usage(_nearest(home)).free
    detail = f"{free / 1e9:.1f} GB free for {home}"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "fail", detail, "free some space, or set STEPDOWN_HOME to another disk")
    if free < COMFORTABLE_BYTES:
        return Finding("disk", "warn", detail, "harvest and models grow: a few GB are comfortable")
    return Finding("disk", "ok", detail)


def _runtime() -> Finding:
    try:
        import onnxruntime
    except ImportError as error:
        return Finding("onnxruntime", "fail", str(error), "install it again: `make env`")
    return Finding("onnxruntime", "ok", str(onnxruntime.__version__))


def _encoder(settings: Settings) -> Finding:
    from gateway.errors import StepdownError
    from gateway.specialists.encoding import create_encoder

    specialists = settings.specialists
    try:
        encoder = create_encoder(specialists.encoder, json.dumps(specialists.encoder_options))
    except (StepdownError, ImportError) as error:
        return Finding("encoder", "fail", str(error), "no specialist can serve without it: `make env`")
    return Finding("encoder", "ok", f"{encoder.name}, {encoder.dimension} dimensions")


def _teacher(settings: Settings) -> Finding:
    import asyncio

    from gateway.errors import ConfigError, UpstreamCredentialError, UpstreamError

    url = settings.upstream.base_url
    try:
        status = asyncio.run(_models_status(settings))
    except ConfigError as error:
        return Finding("teacher", "fail", str(error), "correct [upstream] in the settings")
    except UpstreamCredentialError as error:
        return Finding("teacher", "fail", f"{url}: {error}", "set OPENAI_API_KEY to a key which it accepts")
    except UpstreamError as error:
        advice = "check OPENAI_BASE_URL, the network, and [upstream] use_proxy"
        return Finding("teacher", "fail", f"{url}: {error}", advice, is_unreachable=True)
    if status in {401, 403}:
        return Finding("teacher", "ok", f"{url} asks for a key ({status}): clients bring their own")
    if status >= 400:
        advice = "check OPENAI_BASE_URL: it stands for the /v1 of a path"
        return Finding("teacher", "warn", f"{url} answered GET /v1/models with {status}", advice)
    return Finding("teacher", "ok", url)


async def _models_status(settings: Settings) -> int:
    """Return the status of the teacher's list of models. Raises ConfigError, UpstreamError."""
    import msgspec

    from gateway.processes.assembly import create_teacher
    from gateway.upstream.base import Call

    upstream = msgspec.structs.replace(settings.upstream, retries=0, first_byte_timeout_s=PATIENCE_S)
    teacher = create_teacher(msgspec.structs.replace(settings, upstream=upstream))
    try:
        reply = await teacher.ask(Call(method="GET", target=b"/v1/models", headers=(), is_repeatable=True))
        await reply.body.aclose()
        return reply.status
    finally:
        await teacher.close()


def _gateway(home: Home) -> Finding:
    import urllib.error
    import urllib.request

    from gateway.errors import UpstreamError
    from gateway.store.run_file import read_run_file

    try:
        run = read_run_file(home)
    except UpstreamError:
        return Finding("gateway", "ok", "none runs from this home: `stepdown serve` starts one")
    try:
        with urllib.request.urlopen(f"{run.url}/healthz", timeout=PATIENCE_S):  # noqa: S310 - our own address
            return Finding("gateway", "ok", f"runs at {run.url}/v1 (process {run.pid})")
    except (urllib.error.URLError, OSError) as error:
        detail = f"process {run.pid} should answer at {run.url}: {error}"
        return Finding("gateway", "warn", detail, "it was killed, or is stuck: start `stepdown serve` again")


def _nearest(path: Path) -> Path:
    """Return `path`, or the closest thing above it which exists."""
    return next(one for one in (path, *path.parents) if one.exists())
