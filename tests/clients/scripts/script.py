"""What every Python script shares: how it is asked, and how it tells."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec

Told = dict[str, Any]
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


class Asked(msgspec.Struct, frozen=True):
    """Whom to ask for which model."""

    base_url: str
    key: str
    model: str


def told_by(scenarios: Callable[[Asked], dict[str, Any]], errors: tuple[type[Exception], ...]) -> None:
    """Run the scenarios which the command line names, and print name -> result as JSON.

    `local.chat` asks the specialist, `chat` the teacher. One of `errors` is a result: its types
    from its own to Exception, its status and its text.
    """
    base_url, key, *models = (os.environ[f"CLIENT_{name}"] for name in ("BASE_URL", "KEY", "MODEL", "LOCAL"))
    hosted, local = (scenarios(Asked(base_url, key, model)) for model in models)
    told: Told = {}
    for name in sys.argv[1:]:
        is_local, _, scenario = name.rpartition(LOCALLY)
        try:
            told[name] = (local if is_local else hosted)[scenario]()
        except errors as fault:
            status = getattr(fault, "status_code", None)
            types = [kind.__name__ for kind in type(fault).__mro__]
            told[name] = {"error": types, "status": status, "message": str(fault)}
        if not isinstance(told[name], dict):
            told[name] = {"unexpected": repr(told[name])}
    sys.stdout.write(json.dumps(told))
