"""A local answer in the exact shape of OpenAI's Responses API, whole or as a stream."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence

import msgspec

from gateway.core import Draft, Request, Usage
from gateway.wire.body import Fields
from gateway.wire.chunks import item_id, pieces
from gateway.wire.responses.echoed_fields import echo
from gateway.wire.tool_calls import ToolCall, from_text

# A delta and its padding together have a multiple of this length.
PADDED_TO = 16

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(Fields)
_options = msgspec.json.Decoder(dict[str, object] | None)

Value = dict[str, object]


class ResponseAnswer:
    """One local answer to a Responses request; see surfaces.Writer. `clock` returns unix seconds.

    Its events are numbered: what is asked for first must be sent first.
    """

    def __init__(self, request: Request, clock: Callable[[], float]) -> None:
        self._request = request
        self._clock = clock
        self._id = f"resp_{request.id}"
        self._message_id = f"msg_{request.id}"
        self._created = int(clock())
        self._asked = _fields.decode(request.body)
        self._is_padded = _wants_padding(self._asked)
        self._texts: list[str] = []
        self._sent = 0

    def whole(self, draft: Draft, usage: Usage) -> bytes:
        """Return the JSON of a `response`."""
        status = _status(draft.finish_reason)
        output = [self._call_item(*call) for call in enumerate(self._calls(draft))]
        return _encode(self._response(status, output or [self._message(status, draft.text)], usage))

    def stream(self, draft: Draft, usage: Usage) -> bytes:
        """Return the same answer as a whole event stream, to `response.completed` or `.incomplete`."""
        calls = self._calls(draft)
        if not calls:
            return self.opening(draft) + self.closing(draft.finish_reason, usage)
        events = [self._beginning()]
        for index, call in enumerate(calls):
            events += self._call_events(index, call)
        output = [self._call_item(*call) for call in enumerate(calls)]
        return b"".join((*events, self._ending("completed", output, usage)))

    def opening(self, draft: Draft) -> bytes:
        """Return the events up to the draft's text, and its pieces as far as there are any."""
        item = self._message("in_progress")
        return b"".join(
            (
                self._beginning(),
                self._event("output_item.added", item=item, output_index=0),
                self._part_event("content_part.added", part=_part("")),
                *(self._delta(text) for text in pieces(draft.text)),
            )
        )

    def piece(self, text: str) -> bytes:
        """Return the event of a piece of text."""
        return self._delta(text)

    def closing(self, finish_reason: str, usage: Usage) -> bytes:
        """Return what ends a stream of text."""
        status, text = _status(finish_reason), "".join(self._texts)
        item = self._message(status, text)
        return b"".join(
            (
                self._part_event("output_text.done", logprobs=[], text=text),
                self._part_event("content_part.done", part=_part(text)),
                self._event("output_item.done", item=item, output_index=0),
                self._ending(status, [item], usage),
            )
        )

    def _beginning(self) -> bytes:
        response = self._response("in_progress", [], None)
        kinds = ("created", "in_progress")
        return b"".join([self._event(kind, response=response) for kind in kinds])

    def _ending(self, status: str, output: list[Value], usage: Usage) -> bytes:
        return self._event(status, response=self._response(status, output, usage))

    def _call_events(self, index: int, call: ToolCall) -> Iterator[bytes]:
        item = self._call_item(index, call)
        place: Value = {"item_id": item["id"], "output_index": index}
        begun = {**item, "status": "in_progress", "arguments": ""}
        yield self._event("output_item.added", item=begun, output_index=index)
        for text in pieces(call.arguments_text):
            padding = self._padding(text)
            yield self._event("function_call_arguments.delta", delta=text, **padding, **place)
        yield self._event("function_call_arguments.done", arguments=item["arguments"], **place)
        yield self._event("output_item.done", item=item, output_index=index)

    def _delta(self, text: str) -> bytes:
        self._texts.append(text)
        return self._part_event("output_text.delta", delta=text, logprobs=[], **self._padding(text))

    def _padding(self, text: str) -> Value:
        """Return random text of a length which hides that of `text` from whoever counts bytes."""
        if not self._is_padded:
            return {}
        return {"obfuscation": secrets.token_urlsafe(PADDED_TO)[: PADDED_TO - len(text) % PADDED_TO]}

    def _part_event(self, kind: str, **fields: object) -> bytes:
        return self._event(kind, content_index=0, item_id=self._message_id, output_index=0, **fields)

    def _event(self, kind: str, **fields: object) -> bytes:
        name = f"response.{kind}"
        event = {"type": name, **_sorted({**fields, "sequence_number": self._sent})}
        self._sent += 1
        return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(event))

    def _message(self, status: str, text: str | None = None) -> Value:
        return {
            "id": self._message_id,
            "type": "message",
            "status": status,
            "content": [] if text is None else [_part(text)],
            "role": "assistant",
        }

    def _calls(self, draft: Draft) -> Sequence[ToolCall]:
        return (from_text(draft.text) or ()) if self._request.tools else ()

    def _call_item(self, index: int, call: ToolCall) -> Value:
        unique = item_id(self._id, index)
        return {
            "id": f"fc_{unique}",
            "type": "function_call",
            "status": "completed",
            "arguments": call.arguments_text,
            "call_id": f"call_{unique}",
            "name": call.name,
        }

    def _response(self, status: str, output: list[Value], usage: Usage | None) -> Value:
        reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
        head = {"id": self._id, "object": "response", "created_at": self._created, "status": status}
        fields: Value = {
            "background": False,
            "completed_at": int(self._clock()) if status == "completed" else None,
            "error": None,
            "incomplete_details": reason,
            "model": self._request.model,
            "output": output,
            **echo(self._asked),
            "service_tier": "default" if usage else "auto",
            "usage": _usage(usage) if usage else None,
        }
        return {**head, **_sorted(fields)}


def _sorted(fields: Value) -> Value:
    """Return `fields` in the order in which OpenAI has them."""
    return dict(sorted(fields.items()))


def _status(finish_reason: str) -> str:
    return "incomplete" if finish_reason == "length" else "completed"


def _part(text: str) -> Value:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _wants_padding(asked: Fields) -> bool:
    options = _options.decode(asked.get("stream_options", msgspec.Raw(b"null"))) or {}
    return options.get("include_obfuscation") is not False


def _usage(usage: Usage) -> Value:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
