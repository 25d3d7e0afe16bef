"""litellm as a client."""

from __future__ import annotations

import os
import time
from typing import Any

# Else it fetches a table of prices when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import openai

from tests.clients.scripts.script import FORMAT, SCHEMA, TOOL, Asked, Told, told_by


def scenarios(asked: Asked) -> dict[str, Any]:
    account: dict[str, Any] = {"api_base": asked.base_url, "api_key": asked.key, "timeout": 20}
    model = f"openai/{asked.model}"
    library: Any = litellm
    # It prints advice where the result is to stand.
    library.suppress_debug_info = True

    def ask(said: str, **more: Any) -> Any:
        messages = [{"role": "user", "content": said}]
        return library.completion(model=model, messages=messages, **account, **more)

    def respond(said: str, **more: Any) -> Any:
        return library.responses(model=model, input=said, store=False, **account, **more)

    def called(response: Any) -> Told:
        (call,) = response.choices[0].message.tool_calls
        return {"name": call.function.name, "arguments": call.function.arguments}

    def streamed() -> Told:
        chunks = list(ask("text", stream=True))
        return {"text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks)}

    def structured() -> Told:
        form = {"type": "json_schema", "json_schema": SCHEMA}
        return {"json": ask("json", response_format=form).choices[0].message.content}

    def embedded() -> Told:
        made = library.embedding(model="openai/text-embedding-3-small", input=["x"], **account)
        return {"vector": made.data[0]["embedding"]}

    def response_streamed() -> Told:
        events = list(respond("text", stream=True))
        texts = [one.delta for one in events if str(one.type.value) == "response.output_text.delta"]
        return {"text": "".join(texts)}

    def cancel() -> Told:
        stream = ask("endless", stream=True)
        next(stream)
        left_at = time.monotonic()
        stream.completion_stream.close()
        return {"left_at": left_at}

    return {
        "chat": lambda: {"text": ask("text").choices[0].message.content},
        "stream": streamed,
        "tools": lambda: called(ask("call", tools=[TOOL])),
        "stream_tools": lambda: called(
            library.stream_chunk_builder(list(ask("call", tools=[TOOL], stream=True)))
        ),
        "structured": structured,
        "embeddings": embedded,
        "responses": lambda: {"text": respond("text").output[0].content[0].text},
        "response_stream": response_streamed,
        "response_structured": lambda: {
            "json": respond("json", text={"format": FORMAT}).output[0].content[0].text
        },
        "refused_400": lambda: ask("say 400"),
        "refused_404": lambda: ask("say 404"),
        "refused_429": lambda: ask("say 429"),
        "refused_500": lambda: ask("say 500"),
        "cut": lambda: list(ask("cut", stream=True)),
        "cancel": cancel,
    }


if __name__ == "__main__":
    told_by(scenarios, (openai.APIError,))
