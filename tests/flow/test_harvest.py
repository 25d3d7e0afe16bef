"""From an app's own conversation to training data, and out of the files again, through a real gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from pydantic import TypeAdapter

from gateway.demo.teacher.faults import Fault
from tests.flow.conftest import TEACHER_KEY
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
    for name in ("weather", "time")
]
USER = "jane@example.org"


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    with gateway_process(
        home,
        "--open",
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_LEARN_ENABLED="false",
    ) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=PATIENCE_S) as client:
        yield client


def parallel_calls() -> bytes:
    """Return a stream of two calls whose arguments come in turns."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    for index, name in enumerate(("weather", "time")):
        function = {"name": name, "arguments": ""}
        call = {"index": index, "id": f"call_{name}", "type": "function", "function": function}
        deltas.append({"tool_calls": [call]})
    for part in ('{"city": ', '"Paris"}'):
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for index in (0, 1)]
    ends: list[str | None] = [None] * len(deltas) + ["tool_calls"]
    chunks = [
        {
            "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}],
        }
        for delta, end in zip([*deltas, {}], ends, strict=True)
    ]  # fmt: skip
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


def export(home: Path, form: str = "openai") -> list[dict[str, Any]]:
    ended = stepdown(home, "harvest", "export", "--with-audits", "--format", form)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def holds(home: Path, word: str) -> bool:
    return any(word.encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_a_conversation_with_tools_becomes_training_data(
    gateway: RunningGateway, client: openai.OpenAI, teacher: RunningTeacher
) -> None:
    """Its calls as the client saw them, its tools, and the turn that answers with their results."""
    asked: list[Any] = [{"role": "user", "content": "Paris?"}]
    teacher.control.fail_next(
        Fault(status=200, body=parallel_calls(), headers=(("content-type", "text/event-stream"),))
    )
    with client.chat.completions.stream(model="gpt-4o", messages=asked, tools=TOOLS) as stream:
        said = stream.get_final_completion().choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "20"} for call in said.tool_calls or ()]
    # As apps do it: with all that the client has put into the message, indexes and parsed arguments too.
    turn = [*asked, said.model_dump(), *results]
    answer = client.chat.completions.create(model="gpt-4o", messages=turn, tools=TOOLS)

    wait_for(lambda: len(export(gateway.home)) == 2, "the harvest is not written")
    first, second = sorted(export(gateway.home), key=lambda line: len(line["messages"]))

    assert first["tools"] == second["tools"] == TOOLS
    assert [call["id"] for call in first["messages"][-1]["tool_calls"]] == ["call_weather", "call_time"]
    roles = [message["role"] for message in second["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "assistant"]
    assert second["messages"][1]["tool_calls"] == first["messages"][-1]["tool_calls"]
    assert second["messages"][-1]["content"] == answer.choices[0].message.content
    for line in (first, second):
        # The official package's own types.
        TypeAdapter(list[ChatCompletionMessageParam]).validate_python(line["messages"])
        TypeAdapter(list[ChatCompletionFunctionToolParam]).validate_python(line["tools"])


@pytest.mark.parametrize(
    "options", [{"store": False}, {"extra_headers": {"x-stepdown-harvest": "off"}}], ids=["store", "header"]
)
def test_what_the_client_forbids_is_in_no_file(
    gateway: RunningGateway, client: openai.OpenAI, options: dict[str, Any]
) -> None:
    secret, mark = f"SECRET-{'-'.join(options)}", f"MARK-{'-'.join(options)}"
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": secret}], **options)
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": mark}])

    wait_for(lambda: holds(gateway.home, mark), "the harvest is not written")

    assert not holds(gateway.home, secret)


def test_who_asks_to_be_forgotten_is_in_no_file_while_the_gateway_serves(
    gateway: RunningGateway, client: openai.OpenAI
) -> None:
    for user, text in ((USER, "FORGET-ME"), ("joe", "KEEP-ME")):
        messages: Any = [{"role": "user", "content": text}]
        client.chat.completions.create(model="gpt-4o", messages=messages, user=user)
    wait_for(lambda: holds(gateway.home, "KEEP-ME"), "the harvest is not written")
    assert not holds(gateway.home, USER)

    receipt = json.loads(stepdown(gateway.home, "harvest", "forget", "--user", USER, "--json").stdout)

    assert receipt["rows"] == 1
    assert not holds(gateway.home, "FORGET-ME")
    assert holds(gateway.home, "KEEP-ME")
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "STILL-HERE"}])
    wait_for(lambda: holds(gateway.home, "STILL-HERE"), "the harvest is not written any more")


def test_to_forget_everything_must_be_said(gateway: RunningGateway) -> None:
    ended = stepdown(gateway.home, "harvest", "forget")

    assert ended.returncode == 2
    assert "say what to forget: --request, --user" in ended.stderr
