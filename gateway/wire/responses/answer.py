"""A local answer in the exact shape of OpenAI's Responses API, whole or as a stream."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence

import msgspec

from gateway.core import Draft, Request, Usage
from gateway.wire.body import RawFields
from gateway.wire.chunks import derive_item_id, split_text
from gateway.wire.responses.echoed_fields import echo_fields
from gateway.wire.tool_calls import ToolCall, parse_tool_calls

# A delta and its padding together have a multiple of this length.
PADDED_TO = 16

_encode = msgspec.json.Encoder().encode
_raw_fields = msgspec.json.Decoder(RawFields)
_options = msgspec.json.Decoder(dict[str, object] | None)

JsonObject = dict[str, object]


class ResponsesRenderer:
    """Renders one local answer to a Responses request; see surfaces.Renderer. `clock` returns unix seconds.

    Its events are numbered: they must be sent in the order of rendering.
    """

    def __init__(self, request: Request, clock: Callable[[], float]) -> None:
        self._request = request
        self._clock = clock
        self._id = f"resp_{request.id}"
        self._message_id = f"msg_{request.id}"
        self._created = int(clock())
        self._raw = _raw_fields.decode(request.content)
        self._is_padded = _wants_padding(self._raw)
        self._texts: list[str] = []
        self._sent = 0

    def render_whole(self, draft: Draft, usage: Usage) -> bytes:
        """Return the JSON of a `response`."""
        status = _status(draft.finish_reason)
        output = [self._call_item(*call) for call in enumerate(self._calls(draft))]
        return _encode(self._response(status, output or [self._message(status, draft.text)], usage))

    def render_stream(self, draft: Draft, usage: Usage) -> bytes:
        """Return the same answer as a whole event stream, to `response.completed` or `.incomplete`."""
        calls = self._calls(draft)
        if not calls:
            return self.render_opening(draft) + self.render_closing(draft.finish_reason, usage)
        events = [self._begin_stream()]
        for index, call in enumerate(calls):
            events += self._call_events(index, call)
        output = [self._call_item(*call) for call in enumerate(calls)]
        return b"".join((*events, self._end_stream("completed", output, usage)))

    def render_opening(self, draft: Draft) -> bytes:
        """Return the events up to the draft's text, and those of its text so far."""
        item = self._message("in_progress")
        return b"".join(
            (
                self._begin_stream(),
                self._event("output_item.added", item=item, output_index=0),
                self._part_event("content_part.added", part=_part("")),
                *(self.render_piece(text) for text in split_text(draft.text)),
            )
        )

    def render_piece(self, text: str) -> bytes:
        """Return the event of a piece of text."""
        self._texts.append(text)
        return self._part_event("output_text.delta", delta=text, logprobs=[], **self._padding(text))

    def render_closing(self, finish_reason: str, usage: Usage) -> bytes:
        """Return the events that end a stream of text."""
        status, text = _status(finish_reason), "".join(self._texts)
        item = self._message(status, text)
        return b"".join(
            (
                self._part_event("output_text.done", logprobs=[], text=text),
                self._part_event("content_part.done", part=_part(text)),
                self._event("output_item.done", item=item, output_index=0),
                self._end_stream(status, [item], usage),
            )
        )

    def _begin_stream(self) -> bytes:
        response = self._response("in_progress", [], None)
        kinds = ("created", "in_progress")
        return b"".join([self._event(kind, response=response) for kind in kinds])

    def _end_stream(self, status: str, output: list[JsonObject], usage: Usage) -> bytes:
        return self._event(status, response=self._response(status, output, usage))

    def _call_events(self, index: int, call: ToolCall) -> Iterator[bytes]:
        item = self._call_item(index, call)
        place: JsonObject = {"item_id": item["id"], "output_index": index}
        begun = {**item, "status": "in_progress", "arguments": ""}
        yield self._event("output_item.added", item=begun, output_index=index)
        for text in split_text(call.arguments_text):
            padding = self._padding(text)
            yield self._event("function_call_arguments.delta", delta=text, **padding, **place)
        yield self._event("function_call_arguments.done", arguments=item["arguments"], **place)
        yield self._event("output_item.done", item=item, output_index=index)

    def _padding(self, text: str) -> JsonObject:
        """Return random text of a length that hides the length of `text` from an eavesdropper."""
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

    def _message(self, status: str, text: str | None = None) -> JsonObject:
        return {
            "id": self._message_id,
            "type": "message",
            "status": status,
            "content": [] if text is None else [_part(text)],
            "role": "assistant",
        }

    def _calls(self, draft: Draft) -> Sequence[ToolCall]:
        return (parse_tool_calls(draft.text) or ()) if self._request.tools else ()

    def _call_item(self, index: int, call: ToolCall) -> JsonObject:
        unique = derive_item_id(self._id, index)
        return {
            "id": f"fc_{unique}",
            "type": "function_call",
            "status": "completed",
            "arguments": call.arguments_text,
            "call_id": f"call_{unique}",
            "name": call.name,
        }

    def _response(self, status: str, output: list[JsonObject], usage: Usage | None) -> JsonObject:
        reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
        head = {"id": self._id, "object": "response", "created_at": self._created, "status": status}
        fields: JsonObject = {
            "background": False,
            "completed_at": int(self._clock()) if status == "completed" else None,
            "error": None,
            "incomplete_details": reason,
            "model": self._request.model,
            "output": output,
            **echo_fields(self._raw),
            "service_tier": "default" if usage else "auto",
            "usage": _render_usage(usage) if usage else None,
        }
        return {**head, **_sorted(fields)}


def _sorted(fields: JsonObject) -> JsonObject:
    """Return `fields` in OpenAI's order."""
    return dict(sorted(fields.items()))


def _status(finish_reason: str) -> str:
    return "incomplete" if finish_reason == "length" else "completed"


def _part(text: str) -> JsonObject:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _wants_padding(raw: RawFields) -> bool:
    options = _options.decode(raw.get("stream_options", msgspec.Raw(b"null"))) or {}
    return options.get("include_obfuscation") is not False


def _render_usage(usage: Usage) -> JsonObject:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
