"""What is said in a websocket: held to the policies before it passes, and each response booked once."""

from __future__ import annotations

import time
from collections import deque

import msgspec

from gateway.cascade.base import Stages, budget_spent
from gateway.cascade.websocket_objects import WebsocketObjects
from gateway.cascade.websocket_response import WebsocketResponse
from gateway.core import Grant, Plan, Request
from gateway.core import Message as ChatMessage
from gateway.errors import BudgetSpentError, RequestError
from gateway.wire.websocket.events import (
    CREATE,
    CREATED,
    ENDS,
    SESSIONS,
    TRANSCRIBED,
    ClientEvent,
    ServerEvent,
    find_event_id,
    read_client_event,
    read_server_event,
    render_error,
)
from gateway.wire.websocket.messages import Message, to_utf8

# Responses that are known to be booked: OpenAI ends a websocket after an hour.
MOST_BOOKED = 10_000


class Objection(msgspec.Struct, frozen=True):
    """A message that may not pass, or a response that may not go on."""

    error: RequestError
    event: bytes
    """What the client is told."""
    ends: bool
    """Whether the websocket ends with it: nothing more may be paid for."""


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
        self._sound_format = ""
        self._objects = WebsocketObjects(request, plan, stages.ownership)
        self._asked: deque[WebsocketResponse] = deque()
        self._open: dict[str, WebsocketResponse] = {}
        self._booked: dict[str, None] = {}
        self._requests = 0

    @property
    def is_answering(self) -> bool:
        """Whether a response was asked for, or has begun, and has not ended."""
        return bool(self._asked or self._open)

    def find_unknown_ids(self, message: Message) -> tuple[str, ...]:
        """Return the ids in a client's message that `check_ids` must look up before it is judged."""
        try:
            return self._objects.find_unknown(to_utf8(message))
        except RequestError:
            # What cannot be read is judged as that.
            return ()

    async def check_ids(self, message: Message, ids: tuple[str, ...]) -> Objection | None:
        """Return why a message may not pass that names `ids`; None if they are all its tenant's."""
        message = to_utf8(message)
        try:
            await self._objects.check(message, ids)
        except RequestError as exc:
            return self._object(exc, find_event_id(message.content), ends=False)
        return None

    def judge(self, message: Message | None) -> Objection | None:
        """Return why a message of the client's may not pass; None if it may, and then it must.

        Without a `message` it is one that cannot be read.
        """
        event = ClientEvent("")
        message = message and to_utf8(message)
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
                self._asked.append(
                    self._admit(event.model, event.response or message.content, event.event_id)
                )
        except RequestError as exc:
            # What was paid for already is still to be heard.
            ends = message is None or (isinstance(exc, BudgetSpentError) and not self.is_answering)
            return self._object(exc, event.event_id, ends=ends)
        return None

    def note(self, message: Message) -> Objection | None:
        """Take a message of the teacher's; return why nothing may follow it, None if all is well."""
        event = read_server_event(message)
        if event is None:
            return None
        self._objects.note(event, message.content)
        if event.delta or event.sound_bytes:
            self._keep(event)
        elif event.type == CREATED:
            return self._begin(event)
        elif event.type in ENDS:
            self._end(event, message)
        elif event.type in SESSIONS:
            self._model = event.model or self._model
            self._transcriber = event.transcriber or self._transcriber
            self._sound_format = event.sound_format or self._sound_format
        elif event.type == TRANSCRIBED:
            return self._book_transcript(event, message)
        elif event.type == "error":
            self._take_back(event.cause)
        return None

    def follow(self, grant: Grant) -> None:
        """Hold what is said from now on to `grant`: the client's key was changed."""
        self._request = msgspec.structs.replace(self._request, grant=grant)

    def render(self, error: RequestError) -> bytes:
        """Return the event that tells the client of `error`, which no message of its own has caused."""
        return render_error(error, self._request.id, None)

    def close(self) -> None:
        """Book what was broken off; of what had not begun, the teacher has read the question."""
        for response in (*self._asked, *self._open.values()):
            self._emit(response)
        self._asked.clear()
        self._open.clear()

    def _take_back(self, cause: str | None) -> None:
        """Give back what was set aside for the response that an error is about.

        `cause` is the client's name for its event, if it gave it one and the teacher repeats it.
        """
        refused = next((one for one in self._asked if one.event_id == cause), None)
        if refused is None and cause is None and self._asked:
            refused = self._asked[0]
        if refused is None:
            return
        self._asked.remove(refused)
        if self._stages.budgets:
            self._stages.budgets.settle(refused.reservation, 0.0)

    def _admit(self, model: str, content: bytes, event_id: str | None = None) -> WebsocketResponse:
        """Return a response that the policies allow and pay for. Raises RequestError."""
        request = self._describe(model or self._model, content)
        plan = self._stages.planner.plan(request)
        if not plan.may_escalate:
            raise budget_spent(plan)
        budgets = self._stages.budgets
        reservation = budgets.set_aside(request, plan.budgets) if budgets else None
        return WebsocketResponse(request, plan, reservation, event_id, bool(model))

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
        if event.response_id in self._open:
            return None
        # Some servers have one id for all their responses.
        self._booked.pop(event.response_id, None)
        objection = None
        if self._asked:
            response = self._asked.popleft()
            if not response.has_own_model:
                # It may have changed since the client asked.
                model = event.model or self._model
                response.request = msgspec.structs.replace(response.request, model=model)
        else:
            # The teacher answers by itself, as when it hears that the client has stopped speaking.
            response, objection = self._admit_begun(event.model or self._model)
        response.first_byte_ms = response.elapsed_ms()
        response.sound_format = event.sound_format or self._sound_format
        self._open[event.response_id] = response
        return objection

    def _admit_begun(self, model: str) -> tuple[WebsocketResponse, Objection | None]:
        """Return a response that the client did not ask for, and why nothing may follow it, if so."""
        try:
            return self._admit(model, b""), None
        except RequestError as exc:
            return WebsocketResponse(self._describe(model, b""), self._plan), self._object(
                exc, None, ends=True
            )

    def _end(self, event: ServerEvent, message: Message) -> None:
        if event.response_id in self._booked:
            return
        response = self._open.pop(event.response_id, None)
        if response is None:
            response = self._asked.popleft() if self._asked else self._without_admission(event)
        self._note_booked(event.response_id)
        self._emit(response, message)

    def _book_transcript(self, event: ServerEvent, message: Message) -> Objection | None:
        if event.response_id in self._booked:
            return None
        self._note_booked(event.response_id)
        response, objection = self._admit_begun(self._transcriber)
        self._emit(response, message)
        return objection

    def _without_admission(self, event: ServerEvent) -> WebsocketResponse:
        return WebsocketResponse(self._describe(event.model or self._model, b""), self._plan)

    def _keep(self, event: ServerEvent) -> None:
        # Events of the Responses API do not say whose they are: one response is written at a time.
        last = next(reversed(self._open), "")
        response = self._open.get(event.response_id or last)
        if response is not None:
            response.keep(event)

    def _note_booked(self, name: str) -> None:
        if not name:
            return
        if len(self._booked) >= MOST_BOOKED:
            del self._booked[next(iter(self._booked))]
        self._booked[name] = None

    def _emit(self, response: WebsocketResponse, message: Message | None = None) -> None:
        self._stages.observe(response.to_outcome(message))

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
