"""LiteLLM's proxy, a virtual environment FOLDER/litellm: `pip install 'litellm[proxy]'`."""

from __future__ import annotations

import json

from loadtests.peers.base import AbsentError, Place, Plan

KEY = "sk-litellm-mock"


def prepare(place: Place) -> Plan:
    """See loadtests.peers.base.Adapter."""
    folder = place.peers / "litellm" if place.peers else None
    if folder is None or not (folder / "bin/litellm").exists():
        raise AbsentError(f"no {folder}/bin/litellm" if folder else "no --peers folder")
    config = place.scratch / "config.yaml"
    target = {
        "model": "openai/*",
        "api_base": f"http://127.0.0.1:{place.teacher_port}/v1",
        "api_key": "sk-mock",
    }
    # YAML reads JSON. Retries would hide the teacher's answers.
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "*", "litellm_params": target}],
                "general_settings": {"master_key": KEY},
                "litellm_settings": {"num_retries": 0},
                "router_settings": {"num_retries": 0},
            }
        )
    )
    version = next(folder.glob("lib/*/site-packages/litellm-[0-9]*.dist-info")).name.split("-")[1]
    command = (str(folder / "bin/litellm"), "--config", str(config), "--host", "127.0.0.1")
    return Plan(
        version=version.removesuffix(".dist"),
        command=(*command, "--port", str(place.port), "--num_workers", "1", "--telemetry", "False"),
        # Its price list is fetched from the network otherwise.
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
        headers=(("authorization", f"Bearer {KEY}"),),
        ready_path="/health/liveliness",
    )
