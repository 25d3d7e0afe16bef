"""A chat completion request, from the client's bytes to the Request which the flow decides on."""

from __future__ import annotations

from hashlib import blake2b
from typing import TypeVar, get_args

import msgspec

from gateway.core import OWN_PREFIX, Header, Message, Mode, Request
from gateway.errors import RequestError
from gateway.wire.beyond import beyond_specialists
from gateway.wire.peek import Fields, Peek, peek

_MODES: dict[bytes, Mode] = {mode.encode(): mode for mode in get_args(Mode)}
_ABSENT = msgspec.Raw()
_Meaning = TypeVar("_Meaning")


def read_chat(
    body: bytes,
    *,
    request_id: str,
    caller: str,
    is_trusted: bool,
    target: bytes,
    headers: tuple[Header, ...],
    received_at: float,
) -> Request:
    """Return what `body` asks. `headers` have lower-case names, `received_at` is monotonic seconds.

    Raises RequestError naming the `param` when `body` is no chat completion request.
    """
    peeked, fields = peek(body)
    mode, may_harvest = _wishes(headers)
    messages = tuple(Message(turn.role, turn.text) for turn in peeked.messages)
    template_text = "\n".join(message.text for message in messages if _is_template(message))
    tools, form, choice = (_given(fields, name) for name in ("tools", "response_format", "tool_choice"))
    # Whoever must call a function answers other than who may: that is another task.
    forced = () if choice in (b"", b'"auto"') else (choice,)
    options, response_format = peeked.stream_options, peeked.response_format
    return Request(
        id=request_id,
        caller=caller,
        target=target,
        headers=headers,
        body=body,
        received_at=received_at,
        model=peeked.model,
        messages=messages,
        template=_fingerprint(peeked.model.encode(), template_text.encode(), tools, form, *forced),
        guard=_fingerprint(peeked.model.encode(), tools, form, *forced),
        template_text=template_text,
        text=_varying_text(messages),
        is_streamed=bool(peeked.stream),
        wants_usage=bool(options and options.include_usage),
        response_format=form,
        tools=tools,
        tool_choice=choice,
        may_call_in_parallel=peeked.parallel_tool_calls is not False,
        wants_json=response_format is not None and response_format.type in {"json_object", "json_schema"},
        top_logprobs=(peeked.top_logprobs or 0) if peeked.logprobs else None,
        max_tokens=_max_tokens(peeked),
        stop=_stops(peeked),
        seed=peeked.seed,
        mode="local" if peeked.model.startswith(OWN_PREFIX) else mode,
        may_harvest=may_harvest and peeked.store is not False,
        is_trusted=is_trusted,
        beyond_specialists=beyond_specialists(peeked, fields),
    )


def _given(fields: Fields, name: str) -> bytes:
    """Return the JSON of a field, empty where the client gave none or null."""
    value = bytes(fields.get(name, _ABSENT))
    return b"" if value == b"null" else value


def _wishes(headers: tuple[Header, ...]) -> tuple[Mode, bool]:
    """Return the mode which the client asked for, and whether its request may be kept."""
    mode: Mode = "auto"
    may_harvest = True
    for name, value in headers:
        if name == b"x-stepdown-mode":
            mode = _known(name, value, _MODES)
        elif name == b"x-stepdown-harvest":
            may_harvest = _known(name, value, {b"on": True, b"off": False})
    return mode, may_harvest


def _known(name: bytes, value: bytes, meanings: dict[bytes, _Meaning]) -> _Meaning:
    try:
        return meanings[value.strip().lower()]
    except KeyError as fault:
        allowed = ", ".join(meaning.decode() for meaning in meanings)
        header = name.decode()
        raise RequestError(
            f"Invalid value for the header '{header}'. Supported values are: {allowed}.",
            param=header,
            code="invalid_value",
        ) from fault


def _is_template(message: Message) -> bool:
    return message.role in {"system", "developer"}


def _varying_text(messages: tuple[Message, ...]) -> str:
    varying = [message for message in messages if not _is_template(message)]
    if len(varying) == 1 and varying[0].role == "user":
        return varying[0].text
    return "\n".join(f"{message.role}: {message.text}" for message in varying)


def _max_tokens(peeked: Peek) -> int | None:
    return peeked.max_tokens if peeked.max_completion_tokens is None else peeked.max_completion_tokens


def _stops(peeked: Peek) -> tuple[str, ...]:
    if isinstance(peeked.stop, str):
        return (peeked.stop,)
    return tuple(peeked.stop or ())


def _fingerprint(*fields: bytes) -> str:
    digest = blake2b(digest_size=16)
    for field in fields:
        # The length first, so that no two lists of fields run together to the same bytes.
        digest.update(len(field).to_bytes(8))
        digest.update(field)
    return digest.hexdigest()
