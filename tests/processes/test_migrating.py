"""A task moves to another model: asked within a budget, compared, and learnt as the new model's task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.core import Request, Secret
from gateway.demo.teacher.faults import Fault
from gateway.errors import ConfigError
from gateway.finops.prices import Price
from gateway.harvest.base import Row
from gateway.harvest.examples import examples_of
from gateway.harvest.outbox import Outbox
from gateway.harvest.reader import HarvestReader
from gateway.harvest.removal import Selection, forget
from gateway.harvest.retention import DAY_S
from gateway.policy.prepared import RESPONSES
from gateway.processes import migrating
from gateway.processes.migrating import Migration, migrate_task
from gateway.routing.base import task_name
from gateway.settings import Harvest, Policies, Settings, Upstream
from gateway.store.state import open_state
from gateway.upstream.teacher_settings import TeacherSettings
from gateway.wire.responses.kept import keep_responses
from gateway.wire.responses.request import read_responses
from gateway.wire.template import compute_fingerprints
from tests.distill.conftest import harvested
from tests.support.builders import incoming
from tests.support.teacher import RunningTeacher, running_teacher

NEW = "new-model"
ANSWERS = {f"text {n}": "other" if n % 4 == 0 else "same" for n in range(40)}


def template(shared: str, *contract: bytes, model: str = "gpt-4o") -> str:
    return compute_fingerprints(model.encode(), shared, *(*contract, b"", b"", b"")[:3])[0]


@pytest.fixture
def teacher() -> Iterator[RunningTeacher]:
    """The new teacher."""
    with running_teacher(ANSWERS, api_key="ours") as teacher:
        yield teacher


@pytest.fixture
def settings(tmp_path: Path, teacher: RunningTeacher) -> Settings:
    """A home with 40 lessons, of which the new teacher answers a quarter otherwise, and an audit."""
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
    return settings


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


FLAT = (
    '{"type":"function","name":"look_up","description":"caf\\u00e9","parameters":{ "a" : 1 },"strict":null}'
)
SPACED = '{"name": "look_up", "strict": false, "type": "function"}'
SCHEMA = '{"format":{"type":"json_schema","name":"n","schema":{ "type":"object"},"strict":true}}'


def live(body: str) -> Request:
    arrived = incoming(body=body.encode())
    return read_responses(msgspec.structs.replace(arrived, target=b"/v1/responses", resource=RESPONSES))


def put_response_row(settings: Settings, body: str) -> None:
    """Keep a lesson of task-2 as it is kept of a live request of the Responses API."""
    request = live(body)
    kept = keep_responses(request)
    assert kept is not None
    assert not request.unsupported_reason
    (old,) = HarvestReader(settings.home.harvest).find("r7")
    box = Outbox(settings.home.worker_rows(1))
    box.put(
        msgspec.structs.replace(
            old,
            task="task-2",
            text=request.text,
            template=request.template,
            template_text=request.template_text,
            messages=kept.messages,
            tools=kept.tools,
            response_format=kept.response_format,
        )
    )
    box.close()


@pytest.mark.parametrize(
    "more",
    [
        "",
        '"instructions":"Sort.","input":[{"role":"user","content":[{"type":"input_text","text":"one"}]}]',
        '"input":[{"role":"developer","content":"Sort."},{"role":"user","content":"one"},'
        '{"role":"assistant","content":"1"},{"role":"user","content":"two"}]',
        f'"tools":[{FLAT}]',
        f'"tools":[{FLAT},{FLAT}],"tool_choice":"required"',
        f'"tools": [{SPACED}, {SPACED}], "tool_choice": {{"type": "function", "name": "look_up"}}',
        f'"text":{SCHEMA}',
        '"text":{"format":{ "type": "json_object" }}',
    ],
)
def test_requests_of_the_responses_api_are_asked_there_and_teach_their_own_task(
    settings: Settings, teacher: RunningTeacher, more: str
) -> None:
    """They could not be asked at all; over the chat API they would be another task."""
    given = more if '"input"' in more else '"input":"one"' + (f",{more}" if more else "")
    put_response_row(settings, f'{{"model":"gpt-4o",{given}}}')
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "same"}]}
    usage = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
    said = {"object": "response", "status": "completed", "model": NEW, "output": [message], "usage": usage}
    teacher.control.fail_next(Fault(status=200, body=msgspec.json.encode(said)))

    done = migrate_task(settings, "task-2", NEW, 1.0, 10)

    (seen,) = teacher.control.seen
    asked = live(f'{{"model":"{NEW}",{given}}}')
    (row,) = learnt(settings, done)
    assert (seen.target, b'"store":false' in seen.body) == ("/v1/responses", True)
    assert (row.template, row.text, row.answer) == (asked.template, asked.text, "same")
    assert row.task == task_name(asked.template, "tenant:shop")
    assert (done.asked, done.agreed) == (1, 1)
    assert done.usd == pytest.approx(11e-6)
    assert migrate_task(settings, "task-2", NEW, 1.0, 10).known == 1


def test_tools_that_no_client_spells_so_are_not_asked_and_paid_for(
    settings: Settings, teacher: RunningTeacher
) -> None:
    """A row does not keep how the app spelled them, and another spelling is another task."""
    put_response_row(settings, f'{{"model":"gpt-4o","input":"one","tools":[ {SPACED} ]}}')

    with pytest.raises(ConfigError, match="in a spelling that no client writes"):
        migrate_task(settings, "task-2", NEW, 1.0, 10)
    assert teacher.control.requests == 0


USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


def completion(reason: str, **message: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return msgspec.json.encode({"object": "chat.completion", "choices": [choice], "usage": USAGE})


def redacting(settings: Settings, tmp_path: Path, rule: str = "redact: email") -> Settings:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "p.yaml").write_text(f"policies:\n  - name: p\n    {rule}\n")
    return msgspec.structs.replace(settings, policies=Policies(folder=str(folder)))


@pytest.mark.parametrize(
    "answer",
    [
        completion("length", content="sa"),
        completion("content_filter", content=""),
        completion("stop", content=None, refusal="I cannot."),
        completion("stop", content="write to jane@example.org"),
    ],
)
def test_an_answer_that_teaches_nothing_is_not_paid_for_twice_unless_it_is_asked_for(
    settings: Settings, teacher: RunningTeacher, tmp_path: Path, answer: bytes
) -> None:
    """It counts as no agreement each time: where a draft would have gone out, the app got something else."""
    settings = redacting(settings, tmp_path)
    teacher.control.fail_next(Fault(status=200, body=answer), times=40)

    first, second = migrate(settings), migrate(settings)
    asked = teacher.control.requests
    third = migrate_task(settings, "task-1", NEW, 5.0, 100, is_again=True)
    fourth = migrate(settings)

    assert (first.asked, first.failed, first.unlearnt, first.agreed) == (40, 0, 40, 0)
    assert first.usd > 0
    assert (second.asked, second.known, second.usd, second.unlearnt, second.agreed) == (0, 40, 0.0, 40, 0)
    assert asked == 40
    assert (third.asked, third.known, third.unlearnt, third.agreed) == (40, 0, 0, 30)
    assert (fourth.asked, fourth.known, fourth.unlearnt, fourth.agreed) == (0, 40, 0, 30)


def test_what_was_asked_in_vain_is_no_lesson_is_not_exported_and_is_forgotten(
    settings: Settings, teacher: RunningTeacher
) -> None:
    teacher.control.fail_next(Fault(status=200, body=completion("length", content="sa")), times=40)
    migrate(settings)
    harvest = HarvestReader(settings.home.harvest)
    (task,) = set(harvest.counts()) - {"task-1"}
    rows = harvest.rows(task).rows

    gone = forget(settings.home.harvest, Selection(user="user-5"))

    assert (len(rows), harvest.rows(task, lessons_only=True).rows) == (40, [])
    assert not [example for row in rows for example in examples_of(row)]
    assert sorted(row.task == "task-1" for row in gone) == [False, True]
    assert (migrate(settings).known, len(harvest.rows(task).rows)) == (39, 39)
    with open_state(settings.home) as state:
        assert state.imports.count(task) == 0


@pytest.mark.parametrize("rule", ["harvest: false", "redact: ip"])
def test_what_policies_would_not_learn_is_not_asked(
    settings: Settings, teacher: RunningTeacher, tmp_path: Path, rule: str
) -> None:
    """By the rules of now, whatever they were when it was kept."""
    (old,) = HarvestReader(settings.home.harvest).find("r7")
    box = Outbox(settings.home.worker_rows(1))
    messages = old.messages.replace(b"text 7", b"from 10.1.2.3")
    box.put(msgspec.structs.replace(old, task="task-2", text="from 10.1.2.3", messages=messages))
    box.close()

    done = migrate_task(redacting(settings, tmp_path, rule), "task-2", NEW, 1.0, 10)

    assert (done.barred, done.asked, done.left, teacher.control.requests) == (1, 0, 0, 0)
    assert done.barred_by in ("policy 'p' keeps nothing of it", "private data: ip")


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


def of_two_teachers(settings: Settings, first: RunningTeacher, second: RunningTeacher) -> Settings:
    teachers = tuple(
        TeacherSettings(name=name, base_url=one.base_url, api_key=Secret("ours"), retries=0)
        for name, one in (("first", first), ("second", second))
    )
    return msgspec.structs.replace(settings, upstream=Upstream(), teachers=teachers)


def test_the_teacher_is_asked_that_the_policy_of_the_app_names(
    settings: Settings, teacher: RunningTeacher, tmp_path: Path
) -> None:
    """What another one answered would be learnt as the answers of this one."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "p.yaml").write_text(f"policies: [{{name: p, models: [{NEW}], teachers: [second]}}]")

    with running_teacher(dict.fromkeys(ANSWERS, "of the first"), api_key="ours") as first:
        both = of_two_teachers(settings, first, teacher)
        both = msgspec.structs.replace(both, policies=Policies(folder=str(folder)))
        done = migrate(both)
        assert first.control.requests == 0

    assert (done.asked, done.agreed) == (40, 30)
    assert {(row.text, row.answer) for row in learnt(settings, done)} == set(ANSWERS.items())


def test_what_a_fallback_answers_is_not_learnt(settings: Settings, teacher: RunningTeacher) -> None:
    """Its terms may forbid it, and live requests learn nothing from it either."""
    with running_teacher() as gone:
        both = of_two_teachers(settings, gone, teacher)

    done = migrate(both)

    assert (done.asked, done.failed, done.imported, teacher.control.requests) == (0, 40, 0, 0)
