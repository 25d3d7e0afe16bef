"""openai for Python, asynchronous."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import openai

from tests.clients.scripts.script import TOOL, TOOL_OF_RESPONSES, Result, Target, run_scenarios
from tests.support.waiting import PATIENCE_S


def scenarios(target: Target) -> dict[str, Any]:
    made: dict[str, Callable[[Any, Target], Coroutine[Any, Any, Any]]] = {
        "chat": _chat,
        "stream": _stream,
        "stream_tools": _stream_tools,
        "responses": _responses,
        "response_tools": _response_tools,
        "embeddings": _embeddings,
        "refused_429": _refused,
        "cut": _cut,
        "cancel": _cancel,
        "cancel_early": _cancel_early,
    }
    return {name: lambda what=what: asyncio.run(_with_client(what, target)) for name, what in made.items()}


async def _with_client(what: Callable[[Any, Target], Coroutine[Any, Any, Any]], target: Target) -> Any:
    async with openai.AsyncOpenAI(base_url=target.base_url, api_key=target.key, timeout=PATIENCE_S) as client:
        return await what(client, target)


def _ask(client: Any, target: Target, text: str, **more: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=target.model, messages=messages, **more)


async def _chat(client: Any, target: Target) -> Result:
    return {"text": (await _ask(client, target, "text")).choices[0].message.content}


async def _stream(client: Any, target: Target) -> Result:
    chunks = [chunk async for chunk in await _ask(client, target, "text", stream=True)]
    return {"text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)}


async def _stream_tools(client: Any, target: Target) -> Result:
    messages = [{"role": "user", "content": "call"}]
    async with client.chat.completions.stream(model=target.model, messages=messages, tools=[TOOL]) as stream:
        (call,) = (await stream.get_final_completion()).choices[0].message.tool_calls
    return {"name": call.function.name, "arguments": call.function.arguments}


async def _responses(client: Any, target: Target) -> Result:
    made = await client.responses.create(model=target.model, input="text", store=False)
    return {"text": made.output_text}


async def _response_tools(client: Any, target: Target) -> Result:
    more = {"input": "call", "store": False, "tools": [TOOL_OF_RESPONSES]}
    async with client.responses.stream(model=target.model, **more) as stream:
        (item,) = (await stream.get_final_response()).output
    return {"name": item.name, "arguments": item.arguments}


async def _embeddings(client: Any, target: Target) -> Result:
    made = await client.embeddings.create(model="text-embedding-3-small", input=["x"])
    return {"vector": list(made.data[0].embedding)}


async def _refused(client: Any, target: Target) -> Result:
    return {"unexpected": repr(await _ask(client, target, "say 429"))}


async def _cut(client: Any, target: Target) -> Result:
    return {"unexpected": [repr(chunk) async for chunk in await _ask(client, target, "cut", stream=True)]}


async def _cancel(client: Any, target: Target) -> Result:
    stream = await _ask(client, target, "endless", stream=True)
    await anext(aiter(stream))
    left_at = time.monotonic()
    await stream.close()
    return {"left_at": left_at}


async def _cancel_early(client: Any, target: Target) -> Result:
    task = asyncio.create_task(_ask(client, target, "endless"))
    await asyncio.sleep(0.3)
    left_at = time.monotonic()
    task.cancel()
    return {"left_at": left_at, "is_cancelled": bool(await asyncio.gather(task, return_exceptions=True))}


if __name__ == "__main__":
    run_scenarios(scenarios, (openai.APIError,))
