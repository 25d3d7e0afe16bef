"""The few facts of a chat request which we must understand, taken out of its bytes."""

from __future__ import annotations

import json
from collections import Counter

import msgspec

from gateway.errors import RequestError

_JUDGED = (b'"model"', b'"messages"', b'"stream"')


class Part(msgspec.Struct):
    """One part of a message's content."""

    type: str = ""
    text: str | None = None


class Turn(msgspec.Struct):
    """One message as sent."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[msgspec.Raw] | None = None
    function_call: dict[str, msgspec.Raw] | None = None
    audio: dict[str, msgspec.Raw] | None = None

    @property
    def text(self) -> str:
        """The text of the content, parts joined by newline."""
        if isinstance(self.content, list):
            return "\n".join(part.text or "" for part in self.content)
        return self.content or ""


class StreamOptions(msgspec.Struct):
    """How the client wants its stream."""

    include_usage: bool | None = None


class ResponseFormat(msgspec.Struct):
    """What kind of text the client wants."""

    type: str


class Tool(msgspec.Struct):
    """What the model may call: a function of the client's, or something of the teacher's own."""

    type: str = ""


class Peek(msgspec.Struct):
    """A chat request's known fields; types are checked here, ranges are the teacher's business."""

    model: str
    messages: list[Turn]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    user: str | None = None
    store: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    functions: list[msgspec.Raw] | None = None
    modalities: list[str] | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, msgspec.Raw] | None = None


Fields = dict[str, msgspec.Raw]

_peeks = msgspec.json.Decoder(Peek)
_fields = msgspec.json.Decoder(Fields)


def peek(body: bytes) -> tuple[Peek, Fields]:
    """Return the known fields of a chat request, and the bytes of each top-level field.

    Raises RequestError naming the `param` for whatever OpenAI would refuse as malformed.
    """
    try:
        # msgspec does not look into strings which it skips; the teacher would.
        body.isascii() or body.decode()
        peeked, fields = _peeks.decode(body), _fields.decode(body)
        _refuse_duplicates(body)
    except UnicodeDecodeError as fault:
        raise _unreadable(f"it is not valid UTF-8 at byte {fault.start}") from fault
    except RecursionError as fault:
        raise _unreadable("it is nested too deeply") from fault
    except msgspec.ValidationError as fault:
        raise _mistyped(str(fault)) from fault
    except msgspec.DecodeError as fault:
        raise _unreadable(str(fault)) from fault
    if not peeked.model:
        raise RequestError("you must provide a model parameter", param="model")
    if not peeked.messages:
        raise RequestError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty "
            "array instead.",
            param="messages",
            code="empty_array",
        )
    return peeked, fields


def _refuse_duplicates(body: bytes) -> None:
    """Refuse a field given twice: we would judge one value and the teacher answer the other.

    Nearly every body is cleared by counting; `\\u00` may hide a key such as `mod\\u0065l`.
    """
    if b"\\u00" not in body and all(body.count(name) <= 1 for name in _JUDGED):
        return
    pairs = json.loads(body, object_pairs_hook=list, parse_int=str, parse_float=str)
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            shown = name[:100]
            raise RequestError(f"Duplicate parameter: '{shown}'.", param=shown, code="duplicate_parameter")


def _unreadable(why: str) -> RequestError:
    return RequestError(f"We could not parse the JSON body of your request: {why}.")


def _mistyped(complaint: str) -> RequestError:
    """Return msgspec's complaint ("Expected `str`, got `int` - at `$.model`") in OpenAI's words."""
    problem, _, place = complaint.partition(" - at `$")
    param = place.rstrip("`").removeprefix(".")
    if problem.startswith("Object missing required field"):
        name = problem.split("`")[1]
        param = f"{param}.{name}" if param else name
        code, message = "missing_required_parameter", f"Missing required parameter: '{param}'."
    elif param:
        detail = problem[:1].lower() + problem[1:].replace("`", "")
        code, message = "invalid_type", f"Invalid type for '{param}': {detail}."
    else:
        return _unreadable(problem.replace("`", ""))
    return RequestError(message, param=param, code=code)
