"""Stepdown as it is shipped: keys, the default policy, metrics and harvest, one worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gateway
from loadtests.peers.base import Place, Plan

KEY_OF_THE_TEACHER = "sk-mock"


def prepare(place: Place) -> Plan:
    """See loadtests.peers.base.Adapter."""
    environment = {
        # This checkout, started in a folder without a stepdown.toml.
        "PYTHONPATH": str(Path(gateway.__file__).parents[1]),
        "STEPDOWN_HOME": str(place.scratch / "home"),
        "OPENAI_BASE_URL": f"http://127.0.0.1:{place.teacher_port}/v1",
        "OPENAI_API_KEY": KEY_OF_THE_TEACHER,
        # The learner looks at the harvest once and then sleeps: training is not part of answering.
        "STEPDOWN_LEARN_INTERVAL_S": "3600",
    }
    stepdown = (sys.executable, "-m", "gateway")
    made = subprocess.run(
        [*stepdown, "keys", "create", "--name", "load", "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
    )
    return Plan(
        version=gateway.__version__,
        command=(*stepdown, "serve", "--port", str(place.port), "--admin-port", "0"),
        environment=environment,
        headers=(("authorization", f"Bearer {json.loads(made.stdout)['key']}"),),
        ready_path="/readyz",
        worker="gateway.processes.worker",
    )
