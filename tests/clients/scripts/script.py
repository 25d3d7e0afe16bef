"""The shared part of every Python script: its arguments and its output."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

Result = dict[str, Any]
LOCALLY = "local."

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "function": {"name": "find", "strict": True, "parameters": PARAMETERS}}
TOOL_OF_RESPONSES: Any = {"type": "function", "name": "find", "strict": True, "parameters": PARAMETERS}
SCHEMA: Any = {"name": "place", "strict": True, "schema": PARAMETERS}
FORMAT: Any = {"type": "json_schema", **SCHEMA}


class Target(msgspec.Struct, frozen=True):
    """Gateway, key and model that a script asks."""

    base_url: str
    key: str
    model: str


def run_scenarios(scenarios: Callable[[Target], dict[str, Any]], errors: tuple[type[Exception], ...]) -> None:
    """Run the scenarios that the command line names, and print name -> result as JSON, with `ended_at`.

    `local.chat` asks the specialist, `chat` the teacher. One of `errors` is a result: its types
    from its own to Exception, its status and its text.
    """
    base_url, key, *models = (os.environ[f"CLIENT_{name}"] for name in ("BASE_URL", "KEY", "MODEL", "LOCAL"))
    hosted, local = (scenarios(Target(base_url, key, model)) for model in models)
    results: Result = {}
    for name in sys.argv[1:]:
        is_local, _, scenario = name.rpartition(LOCALLY)
        try:
            results[name] = (local if is_local else hosted)[scenario]()
        except errors as exc:
            status = getattr(exc, "status_code", None)
            types = [kind.__name__ for kind in type(exc).__mro__]
            results[name] = {"error": types, "status": status, "message": str(exc)}
        if not isinstance(results[name], dict):
            results[name] = {"unexpected": repr(results[name])}
    sys.stdout.write(json.dumps({**results, "ended_at": time.monotonic()}))
