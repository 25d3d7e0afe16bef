"""Tool calls have one form as text, and it comes back as the same calls."""

from __future__ import annotations

import msgspec
import pytest

from gateway.wire.tool_calls import ToolCall, make_tool_call, parse_tool_calls, render_tool_calls


def call(name: str = "find", arguments: str = "{}") -> ToolCall:
    return ToolCall(name, msgspec.Raw(arguments.encode()))


@pytest.mark.parametrize(
    "calls",
    [
        (call(),),
        (call(arguments='{"city": "Köln", "n": 2.0}'), call("other", '{"a":{"b":[1,"}"]}}')),
        (call(arguments='{\n  "a": "}\\n</tool_call>\\n<tool_call>"\n}'),),
    ],
)
def test_calls_come_back_from_their_text(calls: tuple[ToolCall, ...]) -> None:
    again = parse_tool_calls(render_tool_calls(calls))

    assert again is not None
    assert [one.name for one in again] == [one.name for one in calls]
    for before, after in zip(calls, again, strict=True):
        assert msgspec.json.decode(before.arguments) == msgspec.json.decode(after.arguments)
    assert render_tool_calls(again) == render_tool_calls(calls)


def test_the_text_is_one_block_per_call() -> None:
    assert render_tool_calls([call(), call("g", '{"a": 1}')]) == (
        '<tool_call>\n{"name":"find","arguments":{}}\n</tool_call>\n'
        '<tool_call>\n{"name":"g","arguments":{"a": 1}}\n</tool_call>'
    )


def test_blanks_around_blocks_do_not_matter() -> None:
    assert parse_tool_calls(' <tool_call>{"name":"find"}</tool_call>\n\n') == (call(),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a label",
        "<tool_call>",
        "<tool_call>{}</tool_call>",
        '<tool_call>{"name":""}</tool_call>',
        '<tool_call>{"name":"f","arguments":[1]}</tool_call>',
        '<tool_call>{"name":"f","arguments":"{}"}</tool_call>',
        '<tool_call>{"name":"f","arguments":{"a":}}</tool_call>',
        '<tool_call>{"name":"f"}',
        'Sure. <tool_call>{"name":"f"}</tool_call>',
        '<tool_call>{"name":"f"}</tool_call> Done.',
        '<tool_call>{"name":"\ud800"}</tool_call>',
        '<tool_call>{"name":"f","arguments":{"a":' + "[" * 50_000 + "}}</tool_call>",
    ],
)
def test_anything_else_is_no_call(text: str) -> None:
    assert parse_tool_calls(text) is None


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("", "{}"), ("f", ""), ("f", "[]"), ("f", "{"), ("f", '{"a":1}, "name": "g"')],
)
def test_a_call_has_a_name_and_an_object(name: str, arguments: str) -> None:
    """The last arguments would rename the call if they were only pasted into the block."""
    assert make_tool_call(name, arguments) is None
