"""The contract of every format of the harvest."""

from __future__ import annotations

import importlib.util
import io
import json
from typing import Any, cast

import pytest

from gateway.config import plugins
from gateway.harvest.base import Format, Row

PACKAGE = "gateway.harvest.formats"
NEEDS = {"parquet": "duckdb"}
"""The package of the extra `data` that a format cannot do without."""
PREFERENCES = {"openai_dpo", "trl_dpo"}
"""Formats of pairs: of evidence there is none, asked for or not."""


def formats(*left_out: str) -> list[Any]:
    names = [name for name in plugins.list_plugins(PACKAGE) if name not in left_out]
    return [pytest.param(plugins.load_plugin(PACKAGE, name), id=name, marks=_marks(name)) for name in names]


def _marks(name: str) -> list[pytest.MarkDecorator]:
    needed = NEEDS.get(name)
    return [pytest.mark.skipif(not _is_installed(needed), reason=f"{needed} is absent")] if needed else []


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def row(n: int, **changes: Any) -> Row:
    facts: dict[str, Any] = {
        "request_id": f"req-{n}",
        "at": float(n),
        "task": "cards",
        "match": "fingerprint",
        "template": "feed",
        "model": "giant",
        "template_text": "",
        "contract_hash": "",
        "text": f"question {n}",
        "answer": f'answer {n}: "äöü"',
        "draft": "another",
        "messages": b'[{"role":"user","content":"question"}]',
        "is_held_out": False,
        "propensity": 0.0,
        "policy": "default",
    }
    return Row(**facts | changes)


def written(module: object, rows: list[Row], **options: bool) -> tuple[int, bytes]:
    stream = io.BytesIO()
    count = cast(Format, module).write(iter(rows), stream, **options)
    return count, stream.getvalue()


@pytest.mark.parametrize("module", formats())
def test_held_out_rows_are_left_out_by_default(module: object) -> None:
    """Training on evidence voids the certificates."""
    evidence = row(7, answer="held-out answer", is_held_out=True)

    count, content = written(module, [row(1), evidence, row(2)])

    assert count == 2
    assert b"held-out answer" not in content


@pytest.mark.parametrize("module", formats("parquet"))
def test_a_local_answer_that_no_reviewer_has_seen_is_left_out(module: object) -> None:
    """It is what an app complained of; parquet has the columns that tell so."""
    local = row(7, answer="", draft="a wrong answer", ending="none", is_lesson=False)

    count, content = written(module, [row(1), local, row(2)], with_held_out=True)

    assert count == 2
    assert b"a wrong answer" not in content


@pytest.mark.parametrize("module", formats("parquet", *PREFERENCES))
def test_held_out_rows_are_written_on_request(module: object) -> None:
    count, content = written(module, [row(7, answer="held-out answer", is_held_out=True)], with_held_out=True)

    assert count == 1
    assert b"held-out answer" in content


@pytest.mark.parametrize("module", formats())
def test_an_empty_harvest_is_no_error(module: object) -> None:
    assert written(module, [])[0] == 0


@pytest.mark.parametrize("module", formats())
def test_the_same_rows_give_the_same_bytes(module: object) -> None:
    """A data set can be reproduced."""
    rows = [row(n) for n in range(5)]

    assert written(module, rows) == written(module, rows)


@pytest.mark.parametrize("module", formats("parquet", "classification"))
def test_nothing_of_the_gateways_own_markup_is_written(module: object) -> None:
    """A model that was trained on it would say it to clients."""
    call = '<tool_call>\n{"name":"find","arguments":{"id":7}}\n</tool_call>'
    tools = b'[{"type":"function","function":{"name":"find"}}]'

    count, content = written(module, [row(1, answer=call, tools=tools, draft=call.replace("7", "8"))])

    assert count == 1
    assert b"tool_call>" not in content
    assert b"find" in content


@pytest.mark.parametrize("module", formats("parquet"))
@pytest.mark.parametrize("ending", ["refused", "cut"])
def test_what_the_teacher_refused_or_broke_off_teaches_nothing(module: object, ending: str) -> None:
    """Not even where evidence is asked for: an empty answer would be learnt as one."""
    spoilt = row(1, answer="", ending=ending, is_held_out=True)

    count, content = written(module, [spoilt], with_held_out=True)

    assert count == 0
    assert b"question" not in content


_CALL = {"id": "c", "type": "function"}


def _said(**fields: Any) -> bytes:
    return json.dumps([{"role": "assistant", **fields}]).encode()


@pytest.mark.parametrize("module", formats())
@pytest.mark.parametrize(
    "odd",
    [
        {"messages": _said(tool_calls=[_CALL])},
        {"messages": _said(tool_calls=[1], content=[{"type": "text"}])},
        {"messages": _said(tool_calls=[{**_CALL, "function": {"name": "f", "arguments": {}}}])},
        {"response_format": b'{"type":"json_object"}', "answer": '{"a":' * 2_000 + "1" + "}" * 2_000},
        {"text": "a\0b", "answer": "\0"},
    ],
    ids=["call of nothing", "no call", "arguments as an object", "deep answer", "zero bytes"],
)
def test_an_odd_row_does_not_keep_the_others_from_being_written(module: object, odd: dict[str, Any]) -> None:
    """A lenient teacher has answered what the API would refuse; the harvest kept it."""
    count, _ = written(module, [row(1), row(2, **odd), row(3)])

    assert count >= 2
