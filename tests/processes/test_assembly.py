"""What a worker, put together from its parts, tells its callers."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.api.auth import Caller
from gateway.processes.assembly import GatewayWorker
from gateway.settings import read_settings
from gateway.store.home import Home
from gateway.store.state import open_state
from tests.support.builders import certified

POOLED = """
policies:
  - name: support
    models: [{models}]
    share: policy
  - name: rest
"""


@pytest.mark.parametrize(
    ("models", "listed"), [("gpt-*", []), ("gpt-*, stepdown/*", ["stepdown/gpt-4o-task", "stepdown/support"])]
)
def test_a_specialist_is_listed_for_those_who_may_ask_for_it_by_name(
    models: str, listed: list[str], tmp_path: Path
) -> None:
    """A request that names it is planned by the policy for that name, as for any other model."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "support.yaml").write_text(POOLED.format(models=models))
    settings = read_settings(
        {
            "STEPDOWN_HOME": str(tmp_path / "home"),
            "STEPDOWN_POLICIES_FOLDER": str(tmp_path / "policies"),
            "OPENAI_API_KEY": "sk-teacher",
        }
    )
    with open_state(Home(tmp_path / "home")) as state:
        state.certifications.put(certified("support"))
        state.tasks.put(
            "support", scope="policy:support", contract_hash="", template_text="", vector=b"", model="gpt-4o"
        )
        worker = GatewayWorker(settings, state, 0)
        try:
            caller = Caller(id="app", is_trusted=True, tenant="shop")
            assert worker.own_models(caller) == listed
        finally:
            worker.outcomes.close()
            worker.outbox.close()
