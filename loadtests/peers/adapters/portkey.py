"""Portkey's gateway, installed by npm: `npm install --prefix FOLDER/portkey @portkey-ai/gateway`."""

from __future__ import annotations

import json
import shutil

from loadtests.peers.base import AbsentError, Place, Plan


def prepare(place: Place) -> Plan:
    """See loadtests.peers.base.Adapter."""
    package = place.peers / "portkey/node_modules/@portkey-ai/gateway" if place.peers else None
    if package is None or not (package / "build/start-server.js").exists():
        raise AbsentError(f"no {package}/build/start-server.js" if package else "no --peers folder")
    node = shutil.which("node")
    if not node:
        raise AbsentError("no node on PATH")
    return Plan(
        version=str(json.loads((package / "package.json").read_text())["version"]),
        command=(node, str(package / "build/start-server.js"), f"--port={place.port}", "--headless"),
        environment={"NODE_ENV": "production"},
        headers=(
            ("authorization", "Bearer sk-mock"),
            ("x-portkey-provider", "openai"),
            ("x-portkey-custom-host", f"http://127.0.0.1:{place.teacher_port}/v1"),
        ),
        ready_path="/",
    )
