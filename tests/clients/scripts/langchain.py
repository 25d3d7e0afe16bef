"""langchain-openai, over chat completions and over responses."""

from __future__ import annotations

import json
import time
from typing import Any

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from tests.clients.scripts.script import PARAMETERS, TOOL, Result, Target, run_scenarios
from tests.support.waiting import PATIENCE_S


def scenarios(target: Target) -> dict[str, Any]:
    account: dict[str, Any] = {"base_url": target.base_url, "api_key": target.key}
    model = ChatOpenAI(model=target.model, timeout=PATIENCE_S, **account)
    responses = ChatOpenAI(
        model=target.model, timeout=PATIENCE_S, use_responses_api=True, store=False, **account
    )
    # Otherwise it splits texts into tokens with a vocabulary that it would have to download.
    encoder = OpenAIEmbeddings(model="text-embedding-3-small", check_embedding_ctx_length=False, **account)
    schema = {"title": "place", **PARAMETERS}

    def streamed(one: Any) -> Result:
        return {"text": "".join(chunk.text for chunk in one.stream("text"))}

    def called(one: Any) -> Result:
        (call,) = one.bind_tools([TOOL]).invoke("call").tool_calls
        return {"name": call["name"], "arguments": json.dumps(call["args"], ensure_ascii=False)}

    def stream_called(one: Any) -> Result:
        first, *others = one.bind_tools([TOOL]).stream("call")
        for other in others:
            first += other
        (call,) = first.tool_calls
        return {"name": call["name"], "arguments": json.dumps(call["args"], ensure_ascii=False)}

    def cancel() -> Result:
        stream: Any = model.stream("endless")
        next(stream)
        left_at = time.monotonic()
        stream.close()
        return {"left_at": left_at}

    return {
        "chat": lambda: {"text": model.invoke("text").text},
        "stream": lambda: streamed(model),
        "tools": lambda: called(model),
        "stream_tools": lambda: stream_called(model),
        "structured": lambda: {"json": json.dumps(model.with_structured_output(schema).invoke("json"))},
        "embeddings": lambda: {"vector": encoder.embed_query("x")},
        "responses": lambda: {"text": responses.invoke("text").text},
        "response_stream": lambda: streamed(responses),
        "response_tools": lambda: stream_called(responses),
        "refused_400": lambda: model.invoke("say 400"),
        "refused_404": lambda: model.invoke("say 404"),
        "refused_429": lambda: model.invoke("say 429"),
        "refused_500": lambda: model.invoke("say 500"),
        "cut": lambda: list(model.stream("cut")),
        "response_cut": lambda: list(responses.stream("cut")),
        "cancel": cancel,
    }


if __name__ == "__main__":
    run_scenarios(scenarios, (openai.APIError,))
