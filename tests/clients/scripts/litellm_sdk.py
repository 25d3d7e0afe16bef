"""litellm as a client."""

from __future__ import annotations

import os
import time
from typing import Any

# Otherwise it fetches a table of prices at import.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import openai

from tests.clients.scripts.script import FORMAT, SCHEMA, TOOL, Result, Target, run_scenarios
from tests.support.waiting import PATIENCE_S


def scenarios(target: Target) -> dict[str, Any]:
    account: dict[str, Any] = {"api_base": target.base_url, "api_key": target.key, "timeout": PATIENCE_S}
    model = f"openai/{target.model}"
    library: Any = litellm
    # It would print advice into the output.
    library.suppress_debug_info = True

    def ask(said: str, **more: Any) -> Any:
        messages = [{"role": "user", "content": said}]
        return library.completion(model=model, messages=messages, **account, **more)

    def respond(said: str, **more: Any) -> Any:
        return library.responses(model=model, input=said, store=False, **account, **more)

    def called(response: Any) -> Result:
        (call,) = response.choices[0].message.tool_calls
        return {"name": call.function.name, "arguments": call.function.arguments}

    def streamed() -> Result:
        chunks = list(ask("text", stream=True))
        return {"text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks)}

    def structured() -> Result:
        form = {"type": "json_schema", "json_schema": SCHEMA}
        return {"json": ask("json", response_format=form).choices[0].message.content}

    def embedded() -> Result:
        made = library.embedding(model="openai/text-embedding-3-small", input=["x"], **account)
        return {"vector": made.data[0]["embedding"]}

    def response_streamed() -> Result:
        events = list(respond("text", stream=True))
        texts = [one.delta for one in events if str(one.type.value) == "response.output_text.delta"]
        return {"text": "".join(texts)}

    def cancel() -> Result:
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
    run_scenarios(scenarios, (openai.APIError,))
