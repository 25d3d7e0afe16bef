"""openai for Python, synchronous."""

from __future__ import annotations

import time
from typing import Any

import openai

from tests.clients.scripts.script import (
    FORMAT,
    SCHEMA,
    TOOL,
    TOOL_OF_RESPONSES,
    Result,
    Target,
    run_scenarios,
)
from tests.support.waiting import PATIENCE_S


def scenarios(target: Target) -> dict[str, Any]:
    client: Any = openai.OpenAI(base_url=target.base_url, api_key=target.key, timeout=PATIENCE_S)
    chat, respond = client.chat.completions, client.responses

    def ask(text: str, **more: Any) -> Any:
        return chat.create(model=target.model, messages=[{"role": "user", "content": text}], **more)

    def create(said: str, **more: Any) -> Any:
        return respond.create(model=target.model, input=said, store=False, **more)

    def streamed(text: str, **more: Any) -> Any:
        return chat.stream(model=target.model, messages=[{"role": "user", "content": text}], **more)

    def call_of_stream() -> Result:
        with streamed("call", tools=[TOOL]) as stream:
            (call,) = stream.get_final_completion().choices[0].message.tool_calls
        return {"name": call.function.name, "arguments": call.function.arguments}

    def call() -> Result:
        (made,) = ask("call", tools=[TOOL]).choices[0].message.tool_calls
        return {"name": made.function.name, "arguments": made.function.arguments}

    def structured() -> Result:
        parsed = ask("json", response_format={"type": "json_schema", "json_schema": SCHEMA})
        return {"json": parsed.choices[0].message.content}

    def stream() -> Result:
        chunks = list(ask("text", stream=True, stream_options={"include_usage": True}))
        texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
        return {"text": "".join(filter(None, texts)), "has_usage": chunks[-1].usage is not None}

    def cancel() -> Result:
        stream = ask("endless", stream=True)
        next(iter(stream))
        left_at = time.monotonic()
        stream.close()
        return {"left_at": left_at}

    def response_stream() -> Result:
        with respond.stream(model=target.model, input="text", store=False) as stream:
            return {"text": stream.get_final_response().output_text}

    def response_call() -> Result:
        with respond.stream(
            model=target.model, input="call", store=False, tools=[TOOL_OF_RESPONSES]
        ) as stream:
            (item,) = stream.get_final_response().output
        return {"name": item.name, "arguments": item.arguments}

    return {
        "chat": lambda: {"text": ask("text").choices[0].message.content},
        "stream": stream,
        "tools": call,
        "stream_tools": call_of_stream,
        "structured": structured,
        "embeddings": lambda: {"vector": _embedded(client)},
        "responses": lambda: {"text": create("text").output_text},
        "response_stream": response_stream,
        "response_tools": response_call,
        "response_structured": lambda: {"json": create("json", text={"format": FORMAT}).output_text},
        "refused_400": lambda: ask("say 400"),
        "refused_404": lambda: ask("say 404"),
        "refused_429": lambda: ask("say 429"),
        "refused_500": lambda: ask("say 500"),
        "cut": lambda: list(ask("cut", stream=True)),
        "response_cut": lambda: list(create("cut", stream=True)),
        "cancel": cancel,
    }


def _embedded(client: Any) -> list[float]:
    return list(client.embeddings.create(model="text-embedding-3-small", input="x").data[0].embedding)


if __name__ == "__main__":
    run_scenarios(scenarios, (openai.APIError,))
