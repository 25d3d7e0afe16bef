"""Show every setting with its origin, and the reference of settings and policies."""

from __future__ import annotations

import argparse
import json
import os

from gateway.cli import OK

_FILES = ("settings", "policies")
_MONITORING = ("metrics", "alerts", "dashboard")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print every setting as TOML; secrets are never printed")
    show.add_argument("--origin", action="store_true", help="say where each value comes from")
    show.add_argument("--changed", action="store_true", help="leave the defaults out")
    show.add_argument("--config", metavar="FILE", help="settings file (stepdown.toml)")
    show.add_argument("--json", action="store_true", help="print a list of key, value, origin")
    reference = actions.add_parser("reference", help="explain every key, or write what monitoring needs")
    reference.add_argument(
        "topic",
        choices=(*_FILES, *_MONITORING),
        help="stepdown.toml, files of policies, metrics; rules for Prometheus, a dashboard for Grafana",
    )
    schema = actions.add_parser("schema", help="print the JSON Schema of the file, for editors")
    schema.add_argument("topic", choices=_FILES, help="stepdown.toml, or a file of policies")


def run(arguments: argparse.Namespace) -> int:
    """Print what was asked for."""
    if arguments.action == "show":
        return _show(arguments)
    if arguments.topic in _MONITORING:
        from gateway.telemetry import monitoring

        topics = {
            "metrics": monitoring.write_metrics,
            "alerts": monitoring.write_alerts,
            "dashboard": monitoring.write_dashboard,
        }
        print(topics[arguments.topic](), end="")
        return OK
    from gateway.processes import reference

    write = reference.write_reference if arguments.action == "reference" else reference.write_schema
    print(write(arguments.topic), end="")
    return OK


def _show(arguments: argparse.Namespace) -> int:
    from gateway.config.show import format_setting, format_tables, is_table
    from gateway.processes.inventory import describe_settings
    from gateway.settings import read_configuration

    named = {"STEPDOWN_CONFIG": arguments.config} if arguments.config else {}
    configuration = read_configuration({**os.environ, **named})
    settings = [
        setting
        for setting in describe_settings(configuration)
        if not (arguments.changed and setting.origin == "default")
    ]
    if arguments.json:
        print(json.dumps([setting.describe() for setting in settings]))
        return OK
    for setting in settings:
        if not is_table(setting):
            print(format_setting(setting, with_origin=arguments.origin))
    for setting in filter(is_table, settings):
        print(format_tables(setting, with_origin=arguments.origin))
    return OK
