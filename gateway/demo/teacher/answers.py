"""The answers of the simulated teacher: OpenAI's shapes around recorded texts."""

from __future__ import annotations

from array import array
from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import shake_128

import msgspec

UNKNOWN_ANSWER = "This simulated teacher has no recorded answer to that message."
CREATED = 1_700_000_000


class HttpAnswer(msgspec.Struct, frozen=True):
    """Status, content type and body of one HTTP answer."""

    status: int
    content_type: bytes
    body: bytes


class _TextPart(msgspec.Struct):
    text: str = ""


class _RecordedMessage(msgspec.Struct):
    role: str
    content: str | list[_TextPart] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""


class _UsageOption(msgspec.Struct):
    include_usage: bool | None = None


class _Chat(msgspec.Struct):
    model: str
    messages: list[_RecordedMessage]
    stream: bool | None = None
    stream_options: _UsageOption | None = None


class _Embeddings(msgspec.Struct):
    model: str
    input: str | list[str]
    encoding_format: str = "float"
    dimensions: int = 8


class _RecordedPair(msgspec.Struct):
    messages: list[_RecordedMessage]
    answer: str


def read_pairs(lines: Iterable[bytes]) -> dict[str, str]:
    """Return question -> answer from JSON lines of {"messages", "answer"}; the last one wins."""
    pairs = (msgspec.json.decode(line, type=_RecordedPair) for line in lines if line.strip())
    return {_question(pair.messages): pair.answer for pair in pairs}


def answer_chat(body: bytes, pairs: dict[str, str], number: int) -> HttpAnswer:
    """Return the answer to a chat completion, with `number` in its id; 400 for another body."""
    try:
        chat = msgspec.json.decode(body, type=_Chat)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        return answer_error(400, f"We could not parse the JSON body of your request: {exc}")
    answer = pairs.get(_question(chat.messages), UNKNOWN_ANSWER)
    usage = _usage(chat.messages, answer)
    if not chat.stream:
        return _json_answer(_completion(chat.model, answer, usage, number))
    wants_usage = bool(chat.stream_options and chat.stream_options.include_usage)
    events = _stream_events(chat.model, answer, usage if wants_usage else None, number)
    return HttpAnswer(200, b"text/event-stream; charset=utf-8", b"".join(events))


def answer_embeddings(body: bytes) -> HttpAnswer:
    """Return a made-up vector per text; 400 for another body."""
    try:
        request = msgspec.json.decode(body, type=_Embeddings)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        return answer_error(400, f"We could not parse the JSON body of your request: {exc}")
    texts = [request.input] if isinstance(request.input, str) else request.input
    tokens = sum(len(text) // 4 + 1 for text in texts)
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(text, request)}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json_answer({"object": "list", "data": data, "model": request.model, "usage": usage})


def list_models(name: str) -> HttpAnswer:
    """Return the list of models: `name` alone."""
    return _json_answer({"object": "list", "data": [_model(name)]})


def show_model(name: str) -> HttpAnswer:
    """Return the description of the model `name`."""
    return _json_answer(_model(name))


def answer_error(status: int, message: str, code: str | None = None) -> HttpAnswer:
    """Return an error in OpenAI's envelope."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return _json_answer({"error": error}, status)


def _json_answer(value: object, status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, b"application/json", msgspec.json.encode(value))


def _question(messages: list[_RecordedMessage]) -> str:
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def _vector(text: str, request: _Embeddings) -> str | list[float]:
    """Return a unit vector, always the same for a text, in the encoding of the request."""
    seeds = shake_128(text.encode("utf-8", "replace")).digest(request.dimensions)
    length = sum((seed + 1) ** 2 for seed in seeds) ** 0.5
    vector = array("f", ((seed + 1) / length for seed in seeds))
    return b64encode(vector).decode() if request.encoding_format == "base64" else vector.tolist()


def _usage(messages: list[_RecordedMessage], answer: str) -> dict[str, int]:
    """Return token counts at four characters per token: plausible, and always the same."""
    prompt = sum(len(message.text) // 4 + 4 for message in messages)
    completion = len(answer) // 4 + 1
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _completion(model: str, answer: str, usage: dict[str, int], number: int) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": answer, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _frame("chat.completion", model, number) | {"choices": [choice], "usage": usage}


def _stream_events(model: str, answer: str, usage: dict[str, int] | None, number: int) -> Iterator[bytes]:
    """Yield one server-sent event per word, in the shape that OpenAI streams."""
    frame = _frame("chat.completion.chunk", model, number)
    if usage is not None:
        frame |= {"usage": None}
    for delta in _deltas(answer):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None if delta else "stop"}
        yield _event(frame | {"choices": [choice]})
    if usage is not None:
        yield _event(frame | {"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _deltas(answer: str) -> Iterator[dict[str, object]]:
    yield {"role": "assistant", "content": "", "refusal": None}
    for word in answer.replace(" ", "\0 ").split("\0"):
        yield {"content": word}
    yield {}


def _event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _frame(kind: str, model: str, number: int) -> dict[str, object]:
    return {
        "id": f"chatcmpl-simulated-{number}",
        "object": kind,
        "created": CREATED,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
    }


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "simulated-teacher"}
