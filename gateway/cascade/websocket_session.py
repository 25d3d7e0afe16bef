"""What is said in a websocket: held to the policies before it passes, and each response booked once."""

from __future__ import annotations

import time
from collections import deque

import msgspec

from gateway.cascade.base import Stages, budget_spent
from gateway.core import Message as ChatMessage
from gateway.core import Outcome, Plan, Request, Reservation
from gateway.errors import BudgetSpentError, RequestError
from gateway.wire.websocket.events import (
    CREATE,
    CREATED,
    ENDS,
    SESSIONS,
    TRANSCRIBED,
    ClientEvent,
    ServerEvent,
    read_client_event,
    read_server_event,
    render_error,
)
from gateway.wire.websocket.messages import Message

# Responses that are known to be booked: OpenAI ends a websocket after an hour.
MOST_BOOKED = 10_000
# What is kept of a response that may be broken off: enough to estimate it by.
KEPT_TEXT_BYTES = 1 << 20


class Objection(msgspec.Struct, frozen=True):
    """A message that may not pass, or a response that may not go on."""

    error: RequestError
    event: bytes
    """What the client is told."""
    ends: bool
    """Whether the websocket ends with it: nothing more may be paid for."""


class _Response(msgspec.Struct):
    request: Request
    plan: Plan
    reservation: Reservation | None = None
    first_byte_ms: float = 0.0
    texts: list[bytes] = []
    text_bytes: int = 0


class WebsocketSession:
    """One websocket's requests. `judge` every message of the client's, `note` every one of the teacher's.

    To be used in the event loop; `close` it once the websocket has ended.
    """

    def __init__(self, request: Request, plan: Plan, stages: Stages) -> None:
        self._request = request
        self._plan = plan
        self._stages = stages
        self._model = request.model
        self._transcriber = ""
        self._asked: deque[_Response] = deque()
        self._open: dict[str, _Response] = {}
        self._booked: dict[str, None] = {}
        self._requests = 0

    def judge(self, message: Message | None) -> Objection | None:
        """Return why a message of the client's may not pass; None if it may, and then it must.

        Without a `message` it is one that cannot be read.
        """
        event = ClientEvent("")
        try:
            try:
                event = _read(message)
            except RequestError:
                if self._request.may_go_unread:
                    return None
                raise
            for model in event.models:
                self._stages.planner.plan(msgspec.structs.replace(self._request, model=model))
            if event.type == CREATE and message is not None:
                self._asked.append(self._admit(event.model, message.content))
        except RequestError as exc:
            ends = message is None or isinstance(exc, BudgetSpentError)
            return self._object(exc, event.event_id, ends=ends)
        return None

    def note(self, message: Message) -> Objection | None:
        """Take a message of the teacher's; return why nothing may follow it, None if all is well."""
        event = read_server_event(message)
        if event is None:
            return None
        if event.is_text:
            self._keep_text(event, message.content)
        elif event.type == CREATED:
            return self._begin(event)
        elif event.type in ENDS:
            self._end(event, message)
        elif event.type in SESSIONS:
            self._model = event.model or self._model
            self._transcriber = event.transcriber or self._transcriber
        elif event.type == TRANSCRIBED:
            self._book_transcript(event, message)
        elif event.type == "error" and self._asked:
            refused = self._asked.popleft()
            if self._stages.budgets:
                self._stages.budgets.settle(refused.reservation, 0.0)
        return None

    def close(self) -> None:
        """Book what was broken off; of what had not begun, the teacher has read the question."""
        for response in (*self._asked, *self._open.values()):
            self._emit(response, b"".join(response.texts), is_complete=False)
        self._asked.clear()
        self._open.clear()

    def _admit(self, model: str, content: bytes) -> _Response:
        """Return a response that the policies allow and pay for. Raises RequestError."""
        request = self._describe(model or self._model, content)
        plan = self._stages.planner.plan(request)
        if not plan.may_escalate:
            raise budget_spent(plan)
        budgets = self._stages.budgets
        return _Response(request, plan, budgets.set_aside(request, plan.budgets) if budgets else None)

    def _describe(self, model: str, content: bytes) -> Request:
        """Return the request of one response. Its answer is read as one of the Responses API."""
        self._requests += 1
        text = content.decode(errors="replace")
        return msgspec.structs.replace(
            self._request,
            id=f"{self._request.id}-{self._requests}",
            surface="responses",
            model=model,
            body=content,
            messages=(ChatMessage("user", text),) if text else (),
            is_streamed=True,
            received_at=time.monotonic(),
            # The rest of the conversation is in the tokens, but not in this text.
            unsupported_reason="websocket",
        )

    def _begin(self, event: ServerEvent) -> Objection | None:
        if event.response_id in self._open or event.response_id in self._booked:
            return None
        objection = None
        if self._asked:
            response = self._asked.popleft()
        else:
            # The teacher answers by itself, as when it hears that the client has stopped speaking.
            try:
                response = self._admit(event.model, b"")
            except RequestError as exc:
                response = self._without_admission(event)
                objection = self._object(exc, None, ends=True)
        response.first_byte_ms = _elapsed_ms(response)
        self._open[event.response_id] = response
        return objection

    def _end(self, event: ServerEvent, message: Message) -> None:
        if event.response_id in self._booked:
            return
        response = self._open.pop(event.response_id, None)
        if response is None:
            response = self._asked.popleft() if self._asked else self._without_admission(event)
        self._note_booked(event.response_id)
        self._emit(response, _to_sse(message.content), message=message)

    def _book_transcript(self, event: ServerEvent, message: Message) -> None:
        if event.response_id not in self._booked:
            self._note_booked(event.response_id)
            request = self._describe(self._transcriber, b"")
            self._emit(_Response(request, self._plan), _to_sse(message.content), message=message)

    def _without_admission(self, event: ServerEvent) -> _Response:
        return _Response(self._describe(event.model or self._model, b""), self._plan)

    def _keep_text(self, event: ServerEvent, content: bytes) -> None:
        # Events of the Responses API do not say whose they are: one response is written at a time.
        last = next(reversed(self._open), "")
        response = self._open.get(event.response_id or last)
        if response is not None and response.text_bytes + len(content) <= KEPT_TEXT_BYTES:
            response.texts.append(_to_sse(content))
            response.text_bytes += len(content)

    def _note_booked(self, name: str) -> None:
        if not name:
            return
        if len(self._booked) >= MOST_BOOKED:
            del self._booked[next(iter(self._booked))]
        self._booked[name] = None

    def _emit(
        self, response: _Response, answer: bytes, *, message: Message | None = None, is_complete: bool = True
    ) -> None:
        excerpt = message.excerpt if message else None
        self._stages.observe(
            Outcome(
                request=response.request,
                plan=response.plan,
                route=None,
                decision="bypass",
                reason="websocket",
                status=200,
                at=time.time(),
                latency_ms=_elapsed_ms(response),
                first_byte_ms=response.first_byte_ms,
                answer=b"" if excerpt else answer,
                is_event_stream=True,
                is_complete=is_complete,
                is_captured=excerpt is None,
                excerpt=excerpt,
                reservation=response.reservation,
            )
        )

    def _object(self, exc: RequestError, event_id: str | None, *, ends: bool) -> Objection:
        return Objection(exc, render_error(exc, self._request.id, event_id), ends)


def _read(message: Message | None) -> ClientEvent:
    """Return the client's event; of a message of bytes that is no JSON, one that says nothing."""
    if message is None or message.excerpt is not None:
        raise RequestError(
            "The gateway cannot read this message: it is too long or no message of a websocket.",
            status=413,
            code="unreadable_message",
        )
    if message.is_binary and not message.content.lstrip().startswith(b"{"):
        return ClientEvent("")
    return read_client_event(message.content)


def _to_sse(content: bytes) -> bytes:
    # JSON has line breaks between values alone.
    return b"data: %b\n\n" % content.replace(b"\r", b" ").replace(b"\n", b" ")


def _elapsed_ms(response: _Response) -> float:
    return (time.monotonic() - response.request.received_at) * 1000
