"""A task moves to another model: asked within a budget, compared, and learnt as the new model's task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.core import Secret
from gateway.errors import ConfigError
from gateway.finops.prices import Price
from gateway.harvest.outbox import Outbox
from gateway.harvest.reader import HarvestReader
from gateway.processes.migrating import Migration, migrate_task
from gateway.settings import Settings, Upstream
from gateway.store.state import open_state
from tests.distill.conftest import harvested
from tests.support.teacher import running_teacher

NEW = "new-model"
ANSWERS = {f"text {n}": "other" if n % 4 == 0 else "same" for n in range(40)}


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A home with 40 lessons, of which the new teacher answers a quarter otherwise, and an audit."""
    with running_teacher(ANSWERS, api_key="ours") as teacher:
        settings = Settings(
            home_folder=str(tmp_path / "home"),
            upstream=Upstream(base_url=teacher.base_url, api_key=Secret("ours")),
            prices={NEW: Price(input_usd_per_mtok=1.0, output_usd_per_mtok=1.0)},
        )
        box = Outbox(settings.home.worker_rows(0))
        for n in range(41):
            messages = [{"role": "system", "content": "Sort."}, {"role": "user", "content": f"text {n}"}]
            box.put(
                msgspec.structs.replace(
                    harvested(f"text {n}", "same", held_out=n == 40),
                    request_id=f"r{n}", caller="app", tenant="shop", messages=json.dumps(messages).encode(),
                    prompt_tokens=10, completion_tokens=2,
                )
            )  # fmt: skip
        box.close()
        yield settings


def migrate(settings: Settings, budget_usd: float = 5.0) -> Migration:
    return migrate_task(settings, "task-1", NEW, budget_usd, 100)


def test_its_lessons_are_asked_again_and_become_the_new_models(settings: Settings) -> None:
    done = migrate(settings)

    assert (done.asked, done.agreed, done.failed, done.imported) == (40, 30, 0, 40)
    assert done.interval[0] < 0.75 < done.interval[1]
    assert done.usd > 0
    ((task, count),) = done.tasks.items()
    assert task != "task-1"
    rows = HarvestReader(settings.home.harvest).rows(task).rows
    assert (len(rows), count) == (40, 40)
    assert {(one.text, one.answer) for one in rows} == set(ANSWERS.items())
    assert {(one.model, one.tenant, one.is_held_out) for one in rows} == {(NEW, "shop", False)}
    with open_state(settings.home) as state:
        assert state.imports.count(task) == 40


def test_a_budget_is_not_exceeded_by_what_is_expected(settings: Settings) -> None:
    """A call is expected to cost twelve millionths of a dollar: ten of them fit."""
    done = migrate(settings, budget_usd=0.000_12)

    assert 0 < done.asked < 40
    assert done.usd <= 0.000_12


def test_it_asks_with_the_gateways_own_key_alone(settings: Settings) -> None:
    forwarding = Settings(home_folder=settings.home_folder)

    with pytest.raises(ConfigError, match="no key of its own"):
        migrate_task(forwarding, "task-1", NEW, 1.0, 100)
