"""What we export is loaded by the programs that it is for; skipped where one is not installed."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.config.plugins import load_plugin
from gateway.harvest.base import Format, Row
from gateway.harvest.dataset import select_rows, write_dataset
from gateway.harvest.formats.label_studio import LABELING_CONFIG

MakeRow = Callable[..., Row]


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is absent")


def form(name: str) -> Format:
    return cast(Format, load_plugin("gateway.harvest.formats", name))


def call(name: str, arguments: str) -> bytes:
    function = {"name": name, "arguments": arguments}
    made = [{"id": "call_1", "type": "function", "function": function}]
    return json.dumps([{"role": "assistant", "tool_calls": made}]).encode()


def tools(name: str, **properties: str) -> bytes:
    typed = {key: {"type": kind} for key, kind in properties.items()}
    function = {"name": name, "parameters": {"type": "object", "properties": typed}}
    return json.dumps([{"type": "function", "function": function}]).encode()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` reads these when it is first imported."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")


@pytest.fixture
def rows(row: MakeRow) -> list[Row]:
    """A text, and calls of two functions with nothing in common; a draft for each."""
    found, added = call("find", '{"city":"Rome"}'), call("add", '{"n":[1,2]}')
    return [
        row(request_id="a", text="one", draft="card_lost"),
        row(request_id="b", text="two", reply=found, tools=tools("find", city="string"), draft="x"),
        row(request_id="c", text="three", reply=added, tools=tools("add", n="array"), draft="x"),
    ]


def load(path: Path, tmp_path: Path) -> Any:
    import datasets

    kind = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}[path.suffix]
    cache = str(tmp_path / "cache")
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=cache)


@needs("datasets")
@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("openai", {"messages", "tools"}),
        ("openai_dpo", {"input", "preferred_output", "non_preferred_output"}),
        ("trl", {"prompt", "completion", "tools"}),
        ("trl_dpo", {"prompt", "chosen", "rejected", "tools"}),
        ("classification", {"text", "label"}),
        ("promptfoo", {"description", "vars", "assert", "options", "metadata"}),
    ],
)
def test_datasets_reads_what_was_written(
    rows: list[Row], name: str, columns: set[str], tmp_path: Path
) -> None:
    """Arrow must not mix the arguments of one function with those of another."""
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as stream:
        written = form(name).write(rows, stream)

    loaded = load(path, tmp_path)

    assert set(loaded.column_names) == columns
    assert loaded.num_rows == written
    if name == "trl":
        calls = [example["completion"][0].get("tool_calls") for example in loaded]
        functions = [each[0]["function"] for each in calls[1:]]
        assert functions == [
            {"name": "find", "arguments": {"city": "Rome"}},
            {"name": "add", "arguments": {"n": [1, 2]}},
        ]


@needs("datasets")
def test_datasets_finds_the_splits_by_the_card(row: MakeRow, tmp_path: Path) -> None:
    import datasets

    rows = [row(request_id=f"req-{n}", at=float(n), text=chr(97 + n) * 9) for n in range(26)]
    folder = tmp_path / "set"
    folder.mkdir()
    written = write_dataset(folder, form("trl"), "trl", select_rows(rows, 99.0, 0.3), 99.0)

    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))

    assert {split: part.num_rows for split, part in loaded.items()} == written
    assert sum(written.values()) == 26


@needs("duckdb")
def test_duckdb_reads_the_parquet(rows: list[Row], tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "rows.parquet"
    with path.open("wb") as stream:
        form("parquet").write(rows, stream)

    found = duckdb.sql(
        "SELECT request_id, text, json_extract_string(replies, '$[0].tool_calls[0].function.name') "
        f"FROM '{path}' ORDER BY request_id"
    ).fetchall()

    assert found == [("a", "one", None), ("b", "two", "find"), ("c", "three", "add")]


@needs("label_studio_sdk")
def test_label_studio_takes_the_tasks_and_their_predictions(rows: list[Row]) -> None:
    from label_studio_sdk.label_interface import LabelInterface

    stream = io.BytesIO()
    form("label_studio").write(rows, stream)
    interface = LabelInterface(LABELING_CONFIG)

    for task in json.loads(stream.getvalue()):
        assert interface.validate_task({"data": task["data"]})
        assert interface.validate_prediction(task["predictions"][0], return_errors=True) == []


def test_promptfoo_compares_json_as_json_and_calls_without_their_ids(row: MakeRow) -> None:
    """By its reference: an object in `equals` is compared as JSON; `vars` are texts."""
    stream = io.BytesIO()
    form("promptfoo").write(
        [
            row(answer='{"b": 1, "a": 2}', response_format=b'{"type":"json_object"}'),
            row(reply=call("find", '{"city":"Rome"}'), tools=tools("find", city="string")),
        ],
        stream,
    )

    as_json, as_calls = map(json.loads, stream.getvalue().splitlines())

    assert as_json["assert"] == [{"type": "equals", "value": {"b": 1, "a": 2}}]
    assert as_json["options"] == {"config": {"response_format": {"type": "json_object"}}}
    assert json.loads(as_json["vars"]["messages"]) == [{"role": "user", "content": "where is my card?"}]
    assert '[["find",{"city":"Rome"}]]' in as_calls["assert"][0]["value"]
    assert "call_1" not in as_calls["assert"][0]["value"]
