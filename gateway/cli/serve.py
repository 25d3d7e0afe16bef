"""Run the gateway: an OpenAI API on this machine, the teacher behind it.

OPENAI_API_KEY and OPENAI_BASE_URL name the teacher. Without a key each client's own credential
goes to it.
"""

from __future__ import annotations

import argparse
import os

FLAGS = {"host": "HOST", "port": "PORT", "admin_port": "ADMIN_PORT", "workers": "WORKERS"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", help="port of the OpenAI API (8080; 0 takes a free one)")
    parser.add_argument("--admin-port", help="port of /metrics and /status (8081)")
    parser.add_argument("--workers", help="gateway processes (1)")
    parser.add_argument("--open", action="store_true", help="let any client in; on loopback only")
    parser.add_argument("--config", help="settings file (stepdown.toml)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    from gateway.processes.supervisor import supervise
    from gateway.settings import read_settings
    from gateway.store.run_file import RunFile
    from gateway.telemetry.logs import configure

    flags = {
        f"STEPDOWN_SERVER_{variable}": str(value)
        for name, variable in FLAGS.items()
        if (value := getattr(arguments, name)) is not None
    }
    if arguments.open:
        flags["STEPDOWN_SERVER_OPEN"] = "true"
    if arguments.config:
        flags["STEPDOWN_CONFIG"] = arguments.config
    settings = read_settings({**os.environ, **flags})
    configure(is_json=settings.server.log_format == "json")

    def announce(run: RunFile) -> None:
        print(f"stepdown listens on {run.url}/v1   (metrics and status: {run.admin_url})", flush=True)
        print(f"teacher: {settings.upstream.base_url}   clients: {CLIENTS[settings.admission]}", flush=True)

    return supervise(settings, flags, announce)


CLIENTS = {
    "open": "anybody on this machine (--open)",
    "keys": "holders of a gateway key (`stepdown keys create`)",
    "forward": "whoever the teacher accepts; their own credential is forwarded",
}
