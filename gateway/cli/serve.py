"""Run the gateway: the OpenAI API here, the teacher behind it.

OPENAI_API_KEY and OPENAI_BASE_URL name the teacher. Without a key the credential of each client
goes to it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.settings import Configuration

FLAGS = {
    "host": "HOST",
    "port": "PORT",
    "admin_host": "ADMIN_HOST",
    "admin_port": "ADMIN_PORT",
    "workers": "WORKERS",
    "drain": "DRAIN_S",
    "drain_delay": "DRAIN_DELAY_S",
}
CLIENTS = {
    "open": "anybody on this machine (--open)",
    "keys": "holders of a gateway key (`stepdown keys create`)",
    "forward": "all that the teacher accepts; it gets their own credential",
}
"""The way in, by admission, as told at the start."""
_EVERY_ADDRESS = ("0.0.0.0", "::", "[::]")  # noqa: S104 - names, not binds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", help="port of the OpenAI API (8080; 0 takes a free one)")
    parser.add_argument("--admin-host", metavar="HOST", help="address of /metrics and /status (127.0.0.1)")
    parser.add_argument("--admin-port", metavar="PORT", help="port of /metrics and /status (8081)")
    parser.add_argument("--workers", metavar="N", help="gateway processes (1)")
    parser.add_argument("--drain", metavar="S", help="seconds for open answers after SIGTERM (20)")
    parser.add_argument(
        "--drain-delay", metavar="S", help="seconds before that in which it is unready and serves on (0)"
    )
    parser.add_argument("--open", action="store_true", help="let any client in; on loopback only")
    parser.add_argument("--config", metavar="FILE", help="settings file (stepdown.toml)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    from gateway.processes.supervisor import run_supervisor
    from gateway.settings import read_configuration
    from gateway.store.run_file import RunFile
    from gateway.telemetry.logs import configure_logging

    flags = {
        f"STEPDOWN_SERVER_{variable}": str(value)
        for name, variable in FLAGS.items()
        if (value := getattr(arguments, name)) is not None
    }
    if arguments.open:
        flags["STEPDOWN_SERVER_OPEN"] = "true"
    if arguments.config:
        flags["STEPDOWN_CONFIG"] = arguments.config
    # All that this process and its children make is for this user alone.
    os.umask(0o077)
    configuration = read_configuration({**os.environ, **flags})
    settings = configuration.settings
    configure_logging(is_json=settings.server.log_format == "json")

    def announce(run: RunFile) -> None:
        every = " and on every other address" if settings.server.host in _EVERY_ADDRESS else ""
        print(f"stepdown listens on {run.url}/v1{every}   (metrics and status: {run.admin_url})", flush=True)
        print(f"teacher: {settings.upstream.base_url}   clients: {CLIENTS[settings.admission]}", flush=True)
        print("\n".join(_describe_sources(configuration)), flush=True)

    return run_supervisor(settings, flags, announce)


def _describe_sources(configuration: Configuration) -> Iterator[str]:
    """Yield which settings, policies and state this gateway uses, by absolute paths."""
    settings, file = configuration.settings, configuration.file
    kept = str(Path(file).absolute()) if file else "defaults (no stepdown.toml here)"
    changed = sum(not (file and origin.startswith(f"{file}:")) for origin in configuration.origins.values())
    yield f"settings: {kept}" + (f", {changed} from flags and environment" if changed else "")
    folder = settings.policies.folder
    yield f"policies: {Path(folder).absolute() if folder else 'the default policy (no policies.folder)'}"
    yield f"state: {settings.home.folder}   (`stepdown config show --origin` tells more)"
