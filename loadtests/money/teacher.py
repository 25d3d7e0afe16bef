"""A scripted teacher that answers as each request tells it to, and keeps the true bill."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections import defaultdict
from typing import Any

from loadtests.money.bill import true_cost

Play = dict[str, Any]


class BillingTeacher:
    """Counts dollars by key and model; `bill` is what its operator would be asked to pay."""

    def __init__(self) -> None:
        self.bill: defaultdict[tuple[int, str], float] = defaultdict(float)
        self._later: dict[str, Play] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while request := await _read_request(reader):
                await self._answer(*request, writer)
        writer.close()

    async def _answer(self, method: str, path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        if method == "GET":
            await self._answer_later(path.rpartition("/")[2], writer)
            return
        fields = json.loads(body) if body.startswith(b"{") else _form_fields(body)
        play = json.loads(fields["metadata"]["play"])
        if play["kind"] in ("background", "batch"):
            object_id = f"{play['kind']}-{play['number']}"
            self._later[object_id] = play
            await _send_json(writer, {"id": object_id, "status": "in_progress", "usage": None})
            return
        if fields.get("stream"):
            await self._stream(fields, play, writer)
            return
        self._charge(play, play["completion"])
        await _send_json(writer, _whole(path, play), is_gzip=play["kind"] == "gzip")

    async def _answer_later(self, object_id: str, writer: asyncio.StreamWriter) -> None:
        play = self._later[object_id]
        if not play.get("is_paid"):
            play["is_paid"] = True
            self._charge(play, play["completion"])
        answer = {"id": object_id, "status": "completed", "model": play["model"], "output": []}
        await _send_json(writer, {**answer, "usage": _response_usage(play)})

    async def _stream(self, fields: Play, play: Play, writer: asyncio.StreamWriter) -> None:
        await _send(
            writer,
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        if play["kind"] == "events":
            self._charge(play, play["completion"])
            response = {"type": "response.completed", "response": _whole("/v1/responses", play)}
            await _send_event(writer, json.dumps(response).encode())
            await _send(writer, b"0\r\n\r\n")
            return
        end = play["completion"] // 2 if play["kind"] == "cut" else play["completion"]
        sent = 0
        try:
            for _ in range(end):
                await _send_event(writer, _chunk(play, {"content": "word"}))
                sent += 1
                if play["kind"] == "cancel":
                    await asyncio.sleep(0.001)
        finally:
            self._charge(play, sent)
        if play["kind"] == "cut":
            raise ConnectionResetError
        await _send_event(writer, _chunk(play, {}, "stop"))
        if (fields.get("stream_options") or {}).get("include_usage"):
            usage = {"model": play["model"], "choices": [], "usage": _chat_usage(play, sent)}
            await _send_event(writer, json.dumps({**usage, **_tier(play)}).encode())
        await _send_event(writer, b"[DONE]")
        await _send(writer, b"0\r\n\r\n")

    def _charge(self, play: Play, completion: int) -> None:
        self.bill[play["key"], play["model"]] += true_cost(play, completion)


def _whole(path: str, play: Play) -> Play:
    if path == "/v1/audio/transcriptions":
        return {"text": "x", "usage": {"type": "duration", "seconds": play["seconds"]}}
    if path == "/v1/embeddings":
        usage = {"prompt_tokens": play["prompt"], "total_tokens": play["prompt"]}
        return {"object": "list", "model": play["model"], "data": [{"embedding": [0.5] * 8}], "usage": usage}
    if path == "/v1/responses":
        output: list[Play] = [{"type": "web_search_call", "action": {"type": "search"}}] * play.get(
            "searches", 0
        )
        output += [{"type": "code_interpreter_call", "container_id": "c"}] * play.get("containers", 0)
        output += [
            {"type": "message", "content": [{"type": "output_text", "text": "word" * play["completion"]}]}
        ]
        facts = {"id": "resp", "status": "completed", "model": play["model"], "output": output, **_tier(play)}
        return {**facts, "usage": _response_usage(play)}
    text = "word" * play["completion"] * (100 if play["kind"] == "large" else 1)
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    answer = {"id": "c", "model": play["model"], "choices": [choice], **_tier(play)}
    return {**answer, "usage": _chat_usage(play, play["completion"])}


def _chat_usage(play: Play, completion: int) -> Play:
    audio_in, audio_out = play.get("audio", (0, 0))
    return {
        "prompt_tokens": play["prompt"],
        "completion_tokens": completion,
        "total_tokens": play["prompt"] + completion,
        "prompt_tokens_details": {"cached_tokens": play["cached"], "audio_tokens": audio_in},
        "completion_tokens_details": {"reasoning_tokens": completion // 2, "audio_tokens": audio_out},
    }


def _response_usage(play: Play) -> Play:
    return {
        "input_tokens": play["prompt"],
        "input_tokens_details": {"cached_tokens": play["cached"]},
        "output_tokens": play["completion"],
        "total_tokens": play["prompt"] + play["completion"],
    }


def _tier(play: Play) -> Play:
    return {"service_tier": play["tier"] or "default"}


def _chunk(play: Play, delta: Play, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"id": "c", "model": play["model"], "choices": [choice], **_tier(play)}).encode()


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes] | None:
    first = await reader.readline()
    if not first:
        return None
    method, path, _ = first.decode("latin-1").split(" ")
    length = 0
    chunked = False
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.lower().partition(b":")
        length = int(value) if name == b"content-length" else length
        chunked = chunked or (name == b"transfer-encoding" and b"chunked" in value)
    return method, path, await (_read_chunks(reader) if chunked else reader.readexactly(length))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


def _form_fields(body: bytes) -> Play:
    start = body.index(b'name="metadata"')
    return {"metadata": {"play": body[body.index(b"{", start) : body.index(b"}", start) + 1].decode()}}


async def _send_json(writer: asyncio.StreamWriter, answer: Play, *, is_gzip: bool = False) -> None:
    body = json.dumps(answer).encode()
    encoding = b""
    if is_gzip:
        body, encoding = gzip.compress(body), b"content-encoding: gzip\r\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    await _send(writer, head % (encoding, len(body)) + body)


async def _send_event(writer: asyncio.StreamWriter, data: bytes) -> None:
    event = b"data: %b\n\n" % data
    await _send(writer, b"%x\r\n%b\r\n" % (len(event), event))


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
    if writer.transport.is_closing():
        raise ConnectionResetError
