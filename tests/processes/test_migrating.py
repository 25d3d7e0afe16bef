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
from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.reader import HarvestReader
from gateway.harvest.removal import Selection, forget
from gateway.harvest.retention import DAY_S
from gateway.processes import migrating
from gateway.processes.migrating import Migration, migrate_task
from gateway.routing.base import task_name
from gateway.settings import Harvest, Settings, Upstream
from gateway.store.state import open_state
from gateway.wire.template import compute_fingerprints
from tests.distill.conftest import harvested
from tests.support.teacher import running_teacher

NEW = "new-model"
ANSWERS = {f"text {n}": "other" if n % 4 == 0 else "same" for n in range(40)}


def template(shared: str, *contract: bytes, model: str = "gpt-4o") -> str:
    return compute_fingerprints(model.encode(), shared, *(*contract, b"", b"", b"")[:3])[0]


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
                    request_id=f"r{n}", caller="app", tenant="shop", user=f"user-{n}",
                    messages=json.dumps(messages).encode(), prompt_tokens=10, template_text="Sort.",
                    template=template("Sort."), completion_tokens=2,
                )
            )  # fmt: skip
        box.close()
        yield settings


def migrate(settings: Settings, budget_usd: float = 5.0, most: int = 100) -> Migration:
    return migrate_task(settings, "task-1", NEW, budget_usd, most)


def learnt(settings: Settings, done: Migration) -> list[Row]:
    ((task, _),) = done.tasks.items()
    return HarvestReader(settings.home.harvest).rows(task).rows


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


def test_what_was_answered_before_is_compared_but_not_asked_and_paid_for_again(settings: Settings) -> None:
    first = migrate(settings, budget_usd=0.000_12)
    second = migrate(settings)
    third = migrate(settings)

    assert (first.known, first.asked + first.left) == (0, 40)
    assert (second.known, second.asked, second.left) == (first.asked, first.left, 0)
    assert second.imported == second.asked
    assert (second.agreed, second.agreement) == (30, 0.75)
    assert (third.known, third.asked, third.usd, third.imported) == (40, 0, 0.0, 0)
    assert (third.agreed, third.interval) == (30, second.interval)


def test_what_was_paid_for_is_kept_when_the_rest_is_interrupted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "LEARNT_AT_ONCE", 10)
    told: list[int] = []

    def interrupt(answered: int) -> None:
        told.append(answered)
        if answered == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate_task(settings, "task-1", NEW, 5.0, 100, say=interrupt)
    done = migrate(settings)

    assert told == [10, 20]
    assert (done.known, done.asked) == (20, 20)


def test_a_larger_sample_holds_the_smaller_one(settings: Settings) -> None:
    first, second = migrate(settings, most=10), migrate(settings, most=25)

    assert (first.asked, first.texts, second.known, second.asked) == (10, 40, 10, 15)


def test_what_live_requests_asked_the_new_model_is_not_asked_again(settings: Settings) -> None:
    """Nor what is evidence there: it would become a lesson."""
    done = migrate(settings, most=1)
    (row,) = learnt(settings, done)
    box = Outbox(settings.home.worker_rows(1))
    for n in range(20):
        box.put(
            msgspec.structs.replace(
                row, request_id=f"live-{n}", text=f"text {n}", is_held_out=n % 2 == 0, propensity=0.5
            )
        )
    box.close()

    again = migrate(settings)

    assert (again.known, again.asked) == (len({row.text, *(f"text {n}" for n in range(20))}), again.imported)
    assert again.known + again.asked == 40


def test_who_asks_to_be_forgotten_is_forgotten_with_what_was_asked_again(settings: Settings) -> None:
    done = migrate(settings)
    folder = settings.home.harvest

    gone = forget(folder, Selection(user="user-5")) + forget(folder, Selection(request_id="r6"))

    assert sorted((row.text, row.task == "task-1") for row in gone) == [
        ("text 5", False), ("text 5", True), ("text 6", False), ("text 6", True),
    ]  # fmt: skip
    assert len(learnt(settings, done)) == 38


@pytest.mark.parametrize(
    ("keep_days", "promised", "ends"), [(None, 7e9, 7e9), (10.0, None, 10 * DAY_S), (10.0, 1e5, 1e5)]
)
def test_nothing_is_kept_longer_because_it_was_asked_again(
    settings: Settings, keep_days: float | None, promised: float | None, ends: float
) -> None:
    """By what was said when it came, and by the rules of now."""
    (old,) = HarvestReader(settings.home.harvest).find("r7")
    settings = msgspec.structs.replace(settings, harvest=Harvest(keep_days=keep_days))
    box = Outbox(settings.home.worker_rows(1))
    box.put(msgspec.structs.replace(old, task="task-2", at=0.0, expires_at=promised))
    box.close()

    (row,) = learnt(settings, migrate_task(settings, "task-2", NEW, 1.0, 10))

    assert row.expires_at == ends


TOOLS = b'[ {"type": "function", "function": {"name": "look_up", "description": "caf\\u00e9"}} ]'
FORM = b'{"type": "json_object"}'


@pytest.mark.parametrize(
    ("tools", "form", "choice"),
    [
        (TOOLS, b"", b""),
        (TOOLS, FORM, b'"required"'),
        (TOOLS, b"", b'{"type":"function","function":{"name":"look_up"}}'),
        (b"", FORM, b""),
    ],
)
def test_what_it_teaches_is_the_task_that_the_app_will_ask(
    settings: Settings, tools: bytes, form: bytes, choice: bytes
) -> None:
    """A task is named by the bytes of tools and formats, and by a function that must be called."""
    (old,) = HarvestReader(settings.home.harvest).find("r7")
    box = Outbox(settings.home.worker_rows(1))
    box.put(
        msgspec.structs.replace(
            old,
            task="task-2",
            tools=tools,
            response_format=form,
            template=template("Sort.", tools, form, choice),
        )
    )
    box.close()

    (row,) = learnt(settings, migrate_task(settings, "task-2", NEW, 1.0, 10))

    assert row.template == template("Sort.", tools, form, choice, model=NEW)
    assert row.task == task_name(row.template, "tenant:shop")


def test_what_the_app_would_send_otherwise_is_not_asked_and_paid_for(settings: Settings) -> None:
    """The same template over the Responses API is another task."""
    (old,) = HarvestReader(settings.home.harvest).find("r7")
    box = Outbox(settings.home.worker_rows(1))
    box.put(msgspec.structs.replace(old, task="task-2", template=template("Sort.", model="responses gpt-4o")))
    box.close()

    with pytest.raises(ConfigError, match="came through the Responses API"):
        migrate_task(settings, "task-2", NEW, 1.0, 10)


def test_why_calls_failed_is_said(settings: Settings) -> None:
    wrong = msgspec.structs.replace(settings.upstream, api_key=Secret("another"))

    done = migrate(msgspec.structs.replace(settings, upstream=wrong))

    assert (done.asked, done.failed) == (0, 40)
    assert "refused the gateway's own key" in done.fault


def test_a_task_does_not_move_to_its_own_model(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="ask gpt-4o already"):
        migrate_task(settings, "task-1", "gpt-4o", 1.0, 100)


def test_it_asks_with_the_gateways_own_key_alone(settings: Settings) -> None:
    forwarding = Settings(home_folder=settings.home_folder)

    with pytest.raises(ConfigError, match="no key of its own"):
        migrate_task(forwarding, "task-1", NEW, 1.0, 100)
