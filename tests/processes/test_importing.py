"""Recorded conversations become lessons of the task that live requests of the same form belong to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.reader import HarvestReader
from gateway.harvest.sources import Columns, Record, read_records
from gateway.policy.prepared import RESPONSES
from gateway.processes.importing import Report, import_records
from gateway.processes.record_binder import Owner
from gateway.routing.base import task_name
from gateway.settings import Policies, Settings
from gateway.store.state import open_state
from gateway.wire.chat.request import read_chat
from gateway.wire.responses.request import read_responses
from tests.support.builders import incoming

SYSTEM = {"role": "system", "content": "Sort the ticket."}
LIKE = {"model": "gpt-4o", "messages": [SYSTEM, {"role": "user", "content": "an example"}]}
OWNER = Owner(caller="app", tenant="shop")


def lines(tmp_path: Path, *records: Any, name: str = "rows.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))
    return path


def run(path: Path, settings: Settings, *, is_dry_run: bool = False, columns: Columns = Columns()) -> Report:  # noqa: B008
    return import_records(read_records(path, columns), settings, OWNER, LIKE, is_dry_run=is_dry_run)


def rows(settings: Settings) -> list[Row]:
    harvest = HarvestReader(settings.home.harvest)
    return [row for task in harvest.counts() for row in harvest.rows(task).rows]


def record(text: str, answer: str = "refund", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "answer": answer, **more}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_a_record_belongs_to_the_task_of_the_app_that_it_is_like(settings: Settings, tmp_path: Path) -> None:
    """By its template, in its tenant: so its specialist is asked for live requests."""
    run(lines(tmp_path, record("my card is gone")), settings)

    live = read_chat(
        incoming(body=json.dumps({**LIKE, "messages": [SYSTEM, {"role": "user", "content": "x"}]}).encode())
    )
    (row,) = rows(settings)
    assert row.task == task_name(live.template, "tenant:shop")
    assert (row.text, row.answer, row.model, row.tenant) == ("my card is gone", "refund", "gpt-4o", "shop")
    assert (row.is_held_out, row.is_lesson, row.contract_hash) == (False, True, live.contract_hash)


def test_the_forms_of_other_tools_are_read(settings: Settings, tmp_path: Path) -> None:
    user = {"role": "user", "content": "one"}
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    stored = {
        "request": {"model": "gpt-4o", "messages": [SYSTEM, {**user, "content": "three"}]},
        "response": {
            "choices": [{"message": {"role": "assistant", "content": "C"}, "finish_reason": "stop"}]
        },
    }
    path = lines(
        tmp_path,
        {"messages": [SYSTEM, user, assistant("A")], "model": "gpt-4o"},
        {"messages": [user, {"role": "assistant", "tool_calls": [call]}], "tools": tools},
        stored,
        {**record("four", "D"), "id": "x", "note": "what else is there says nothing"},
    )

    report = run(path, settings)

    assert (report.imported, report.failed) == (4, 0), report.errors
    by_text = {(row.text, bool(row.tools)): row.answer for row in rows(settings)}
    assert by_text["one", False] == "A"
    assert '"f"' in by_text["one", True]
    assert by_text["three", False] == "C"
    # One form, one task; tools make another.
    assert sorted(report.tasks.values()) == [1, 3]


def test_a_csv_is_read_by_its_columns(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('question,label,other\n"a, b",refund,1\n,empty,2\n')

    report = run(path, settings, columns=Columns(text="question", answer="label"))

    assert (report.imported, report.failed) == (1, 1)
    assert rows(settings)[0].text == "a, b"
    with pytest.raises(ConfigError, match="no column 'answer'; known: question, label, other"):
        run(path, settings)


def test_records_that_cannot_be_read_are_named_and_passed_by(settings: Settings, tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        "no json",
        record("good"),
        {"messages": []},
        {"messages": [{"role": "user", "content": "no answer"}]},
        record("", ""),
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 0}]},
        record("n", model=7),
    )

    report = run(path, settings)

    assert (report.read, report.imported, report.failed) == (7, 1, 6)
    assert [error.number for error in report.errors] == [1, 3, 4, 5, 6, 7]
    assert all(error.error for error in report.errors)


_USER = {"role": "user", "content": "x"}
_OUTPUT = "gen_ai.output.messages"


@pytest.mark.parametrize(
    "damaged",
    [
        {"request": {"messages": [_USER]}, "response": {"choices": [{"message": None}]}},
        {"request": {"messages": [_USER]}, "response": {"choices": [{"message": "text"}]}},
        {"attributes": [{"key": _OUTPUT, "value": {"kvlistValue": {"values": [{}]}}}]},
        {
            "attributes": {
                "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "q"}]}],
                _OUTPUT: [{"parts": [{"type": "tool_call_response", "id": one} for one in "ab"]}],
            }
        },
    ],
    ids=["no message", "message of text", "attribute without key", "several results as answer"],
)
def test_a_damaged_record_does_not_end_the_import(
    settings: Settings, tmp_path: Path, damaged: dict[str, Any]
) -> None:
    report = run(lines(tmp_path, damaged, record("good")), settings)

    assert (report.imported, report.failed) == (1, 1)
    assert report.errors[0].error


def test_an_answer_in_parts_is_their_text(settings: Settings, tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "re"}, {"type": "text", "text": "fund"}]

    run(lines(tmp_path, {"messages": [_USER, {"role": "assistant", "content": parts}]}), settings)

    assert [row.answer for row in rows(settings)] == ["refund"]


@pytest.mark.parametrize(
    "start", [b"\xef\xbb\xbf", b"\n  ", b"\xef\xbb\xbf\r\n"], ids=["mark", "space", "both"]
)
@pytest.mark.parametrize("is_array", [True, False])
def test_what_stands_before_the_first_record_is_passed_by(
    settings: Settings, tmp_path: Path, start: bytes, is_array: bool
) -> None:
    """Programs on Windows begin a file with the mark of its encoding."""
    path = tmp_path / "rows.json"
    content = json.dumps(record("one")).encode()
    path.write_bytes(start + (b"[" + content + b"]" if is_array else content))

    report = run(path, settings)

    assert (report.imported, report.failed) == (1, 0)


def test_bytes_of_another_encoding_are_a_mistake_of_their_row(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text,answer\ncaf\xe9,refund\ncaf\xc3\xa9,refund\n")

    report = run(path, settings)

    assert (report.imported, report.failed, report.errors[0].error) == (1, 1, "not UTF-8")
    assert [row.text for row in rows(settings)] == ["caf\u00e9"]


def test_equal_mistakes_are_one_with_the_first_places(settings: Settings, tmp_path: Path) -> None:
    path = lines(
        tmp_path, *({"messages": []} for _ in range(40)), "no json", record("good"), {"messages": []}
    )

    report = run(path, settings)

    first, second = report.errors
    assert (first.number, first.count, first.numbers) == (1, 41, (1, 2, 3, 4, 5))
    assert (second.number, second.count, second.numbers) == (41, 1, (41,))
    assert report.failed == 42


def test_what_is_there_is_not_added_again(settings: Settings, tmp_path: Path) -> None:
    """Not twice from one file, nor when the file is imported again."""
    path = lines(tmp_path, record("one"), record("one"), record("one", "another answer"))

    first, second = run(path, settings), run(path, settings)

    assert (first.imported, first.copies) == (2, 1)
    assert (second.imported, second.copies) == (0, 3)
    assert len(rows(settings)) == 2


def test_a_dry_run_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    report = run(lines(tmp_path, record("one")), settings, is_dry_run=True)

    assert report.imported == 1
    assert not settings.home.folder.exists()


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("harvest: false", "keeps nothing"),
        ("redact: [email]", "private data: email"),
        ("forbid: true", "forbids"),
    ],
)
def test_what_a_policy_would_not_keep_of_a_live_request_is_not_imported(
    tmp_path: Path, policy: str, reason: str
) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.yaml").write_text(f"policies:\n  - name: p\n    {policy}\n")
    settings = Settings(
        home_folder=str(tmp_path / "home"), policies=Policies(folder=str(tmp_path / "policies"))
    )

    report = run(lines(tmp_path, record("I am jane@example.org")), settings)

    assert (report.imported, report.failed) == (0, 1)
    assert reason in report.errors[0].error


def test_what_is_redacted_is_not_added_again(tmp_path: Path) -> None:
    """What was replaced when it was written is compared as it was written."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.yaml").write_text("policies:\n  - name: p\n    redact: [email]\n")
    settings = Settings(
        home_folder=str(tmp_path / "home"), policies=Policies(folder=str(tmp_path / "policies"))
    )
    path = lines(tmp_path, record("who is it?", "jane@example.org"), record("who is it?", "joe@example.org"))

    first, second = run(path, settings), run(path, settings)

    assert (first.imported, first.copies, second.copies) == (1, 1, 2)
    ((text, is_lesson),) = {(row.answer, row.is_lesson) for row in rows(settings)}
    assert ("example" in text, is_lesson) == (False, False)


SERVE = "policies:\n  - name: p\n    imported: serve\n"


@pytest.fixture
def trusting(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.yaml").write_text(SERVE)
    return Settings(home_folder=settings.home_folder, policies=Policies(folder=str(tmp_path / "policies")))


def test_a_share_is_held_out_where_the_policy_lets_it_certify(trusting: Settings, tmp_path: Path) -> None:
    """With what a version is judged by, and drawn by no coin: no window of audits can hold it."""
    report = run(lines(tmp_path, *(record(f"text {n}") for n in range(300))), trusting)

    held_out = [row for row in rows(trusting) if row.is_held_out]
    assert 40 < len(held_out) == report.held_out < 80
    assert {row.propensity for row in held_out} == {0.0}
    assert all(row.demands for row in held_out)


def test_records_of_a_text_are_held_out_all_or_none(trusting: Settings, tmp_path: Path) -> None:
    """Whatever the teacher said to it, and in whichever file it comes."""
    records = [record(f"text {n}", answer) for n in range(50) for answer in ("one", "two")]
    path = lines(tmp_path, *records)

    first, second = run(path, trusting), run(path, trusting)

    sides: dict[str, set[bool]] = {}
    for row in rows(trusting):
        sides.setdefault(row.text, set()).add(row.is_held_out)
    assert {len(each) for each in sides.values()} == {1}
    assert (first.imported, second.imported, second.copies) == (100, 0, 100)


def test_held_out_records_are_no_audits_in_reports(trusting: Settings, tmp_path: Path) -> None:
    run(lines(tmp_path, *(record(f"text {n}") for n in range(100))), trusting)

    harvest = HarvestReader(trusting.home.harvest)
    (task,) = harvest.counts()
    assert harvest.held_out_since(task, 0.0) == []
    assert harvest.held_out_rows(task, 0.0) == []


def test_by_default_nothing_that_is_imported_is_evidence(settings: Settings, tmp_path: Path) -> None:
    """Unless a policy says so: so nothing serves before audits of live requests have certified it."""
    run(lines(tmp_path, *(record(f"text {n}") for n in range(300))), settings)

    (count,) = HarvestReader(settings.home.harvest).counts().values()
    assert (count.training, count.held_out) == (300, 0)


ASKED = {"model": "gpt-4o", "instructions": "Sort the ticket.", "input": "my card is gone"}
SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "refund"}]}
RESPONSE = {"object": "response", "status": "completed", "model": "gpt-4o-2024-08-06", "output": [SAID]}
FORM = b'{"type": "json_schema", "name": "n", "schema": { "type": "object"}, "strict": true}'
SPELLED = '[ {"type": "function", "name": "f", "parameters": {}} ]'


def live_template(body: str) -> str:
    arrived = incoming(body=body.encode())
    target = RESPONSES.path.encode()
    return read_responses(msgspec.structs.replace(arrived, target=target, resource=RESPONSES)).template


def run_responses(tmp_path: Path, settings: Settings, record: Any, **like: Any) -> Report:
    path = lines(tmp_path, record)
    return import_records(read_records(path, Columns()), settings, OWNER, like)


@pytest.mark.parametrize(
    ("record", "like", "body"),
    [
        ({"request": ASKED, "response": RESPONSE}, {}, json.dumps(ASKED)),
        ({**ASKED, "output": [SAID]}, {}, json.dumps(ASKED)),
        (
            {"input": "my card is gone", "output": [SAID]},
            {**ASKED, "input": "an example"},
            json.dumps(ASKED),
        ),
        (
            {"input": "my card is gone", "output": [SAID], "model": "gpt-4o"},
            {"input": [SYSTEM, {"role": "user", "content": "an example"}]},
            json.dumps({"model": "gpt-4o", "input": [SYSTEM, {"role": "user", "content": "x"}]}),
        ),
        (
            {"input": [SYSTEM, {"role": "user", "content": "my card is gone"}], "output": [SAID]},
            {"model": "gpt-4o", "instructions": "Another one."},
            json.dumps(ASKED),
        ),
        (
            # The teacher repeats tools in its own words, the app's are those of the request that it is like.
            {
                **RESPONSE,
                **ASKED,
                "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}],
                "model": "gpt-4o-2024-08-06",
            },
            {"model": "gpt-4o", "input": "x", "tools": msgspec.Raw(SPELLED.encode())},
            json.dumps(ASKED)[:-1] + f', "tools": {SPELLED}}}',
        ),
        (
            {
                **RESPONSE,
                **ASKED,
                "text": {"format": {**json.loads(FORM), "description": None}, "verbosity": "medium"},
            },
            {"model": "gpt-4o", "input": "x", "text": msgspec.Raw(b'{"format":%b}' % FORM)},
            json.dumps(ASKED)[:-1] + f', "text": {{"format": {FORM.decode()}}}}}',
        ),
    ],
)
def test_a_response_belongs_to_the_task_of_requests_of_its_api(
    settings: Settings, tmp_path: Path, record: dict[str, Any], like: dict[str, Any], body: str
) -> None:
    report = run_responses(tmp_path, settings, record, **like)

    assert (report.imported, report.failed) == (1, 0), report.errors
    (row,) = rows(settings)
    assert row.template == live_template(body)
    assert row.task == task_name(row.template, "tenant:shop")
    assert (row.text, row.answer, row.is_lesson) == ("my card is gone", "refund", True)


def test_calls_of_functions_over_the_responses_api_are_learnt_as_such(
    settings: Settings, tmp_path: Path
) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    tools = [{"type": "function", "name": "f", "parameters": {}}]

    run_responses(
        tmp_path, settings, {"request": {**ASKED, "tools": tools}, "response": {**RESPONSE, "output": [call]}}
    )

    (row,) = rows(settings)
    assert '"name":"f"' in row.answer
    assert json.loads(row.tools) == [{"type": "function", "function": {"name": "f", "parameters": {}}}]


@pytest.mark.parametrize(
    ("record", "like", "error"),
    [
        ({**RESPONSE, "input": "x"}, {}, "it names no model"),
        ({**ASKED, "output": [SAID]}, LIKE, "it is of the Responses API, the request of --like of the chat"),
        (record("x"), ASKED, "it is of the chat API, the request of --like of the Responses API"),
        ({**ASKED, "output": [SAID], "store": False}, {}, "keeps nothing of it"),
        ({**ASKED, "output": [SAID], "previous_response_id": "r"}, {}, "no specialist can be asked for it"),
        ({**ASKED, "output": [1]}, {}, "no answer that can be learnt"),
        ({**ASKED, "input": 7, "output": [SAID]}, {}, "'input'"),
    ],
)
def test_a_response_that_cannot_be_bound_says_why(
    settings: Settings, tmp_path: Path, record: dict[str, Any], like: dict[str, Any], error: str
) -> None:
    report = run_responses(tmp_path, settings, record, **like)

    assert (report.imported, report.failed) == (0, 1)
    assert error in report.errors[0].error


def test_an_import_that_dies_leaves_no_row_that_is_not_counted_as_imported(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version would be tested as if live traffic had taught it."""
    monkeypatch.setattr("gateway.processes.imported_rows._BLOCK_ROWS", 2)
    path = lines(tmp_path, *(record(f"text {n}") for n in range(5)))

    def die_after(count: int) -> Iterator[Record]:
        yield from islice(read_records(path, Columns()), count)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_records(die_after(4), settings, OWNER, LIKE)
    written = rows(settings)
    with open_state(settings.home) as state:
        counted = state.imports.count(written[0].task)
    assert run(path, settings).imported == 1

    assert (len(written), counted) == (4, 4)
    with open_state(settings.home) as state:
        assert state.imports.count(written[0].task) == 5
