"""openai for Python, asynchronous."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import openai

from tests.clients.scripts.script import TOOL, TOOL_OF_RESPONSES, Asked, Told, told_by


def scenarios(asked: Asked) -> dict[str, Any]:
    made: dict[str, Callable[[Any, Asked], Coroutine[Any, Any, Any]]] = {
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
    return {name: lambda what=what: asyncio.run(_with_client(what, asked)) for name, what in made.items()}


async def _with_client(what: Callable[[Any, Asked], Coroutine[Any, Any, Any]], asked: Asked) -> Any:
    async with openai.AsyncOpenAI(base_url=asked.base_url, api_key=asked.key, timeout=20) as client:
        return await what(client, asked)


def _ask(client: Any, asked: Asked, text: str, **more: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=asked.model, messages=messages, **more)


async def _chat(client: Any, asked: Asked) -> Told:
    return {"text": (await _ask(client, asked, "text")).choices[0].message.content}


async def _stream(client: Any, asked: Asked) -> Told:
    chunks = [chunk async for chunk in await _ask(client, asked, "text", stream=True)]
    return {"text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)}


async def _stream_tools(client: Any, asked: Asked) -> Told:
    messages = [{"role": "user", "content": "call"}]
    async with client.chat.completions.stream(model=asked.model, messages=messages, tools=[TOOL]) as stream:
        (call,) = (await stream.get_final_completion()).choices[0].message.tool_calls
    return {"name": call.function.name, "arguments": call.function.arguments}


async def _responses(client: Any, asked: Asked) -> Told:
    made = await client.responses.create(model=asked.model, input="text", store=False)
    return {"text": made.output_text}


async def _response_tools(client: Any, asked: Asked) -> Told:
    more = {"input": "call", "store": False, "tools": [TOOL_OF_RESPONSES]}
    async with client.responses.stream(model=asked.model, **more) as stream:
        (item,) = (await stream.get_final_response()).output
    return {"name": item.name, "arguments": item.arguments}


async def _embeddings(client: Any, asked: Asked) -> Told:
    made = await client.embeddings.create(model="text-embedding-3-small", input=["x"])
    return {"vector": list(made.data[0].embedding)}


async def _refused(client: Any, asked: Asked) -> Told:
    return {"unexpected": repr(await _ask(client, asked, "say 429"))}


async def _cut(client: Any, asked: Asked) -> Told:
    return {"unexpected": [repr(chunk) async for chunk in await _ask(client, asked, "cut", stream=True)]}


async def _cancel(client: Any, asked: Asked) -> Told:
    stream = await _ask(client, asked, "endless", stream=True)
    await anext(aiter(stream))
    left_at = time.monotonic()
    await stream.close()
    return {"left_at": left_at}


async def _cancel_early(client: Any, asked: Asked) -> Told:
    task = asyncio.create_task(_ask(client, asked, "endless"))
    await asyncio.sleep(0.3)
    left_at = time.monotonic()
    task.cancel()
    return {"left_at": left_at, "is_cancelled": bool(await asyncio.gather(task, return_exceptions=True))}


if __name__ == "__main__":
    told_by(scenarios, (openai.APIError,))
