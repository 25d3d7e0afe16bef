"""The teacher's objects that the messages of a websocket name, and those that its answers make."""

from __future__ import annotations

from gateway.cascade.base import Ownership
from gateway.core import Plan, Request
from gateway.errors import RequestError
from gateway.wire.object_ids import find_object_ids, may_name_objects, read_made_objects
from gateway.wire.websocket.events import CREATED, ENDS, ITEM_DONE, ServerEvent, find_previous_response
from gateway.wire.websocket.messages import Message

# A response of a hundred items, a hundred times.
MOST_OWN = 10_000
_RESPONSES = "/v1/responses"
# A message of sound has a dozen.
_FEW_QUOTES = 64
_LONGEST_NAME = 1_000


class WebsocketObjects:
    """Holds the client of one websocket to its tenant's objects, and to what its own answers told of.

    A response that is not stored can be continued in its websocket all the same.
    """

    def __init__(self, request: Request, plan: Plan, ownership: Ownership | None) -> None:
        endpoint = request.resource.endpoint
        self._makes_responses = endpoint is not None and endpoint.path == _RESPONSES
        self._ownership = None if plan.shares_objects else ownership
        self._tenant = request.tenant
        self._own: dict[str, None] = {}

    def find_unknown(self, message: Message) -> tuple[str, ...]:
        """Return the ids in a client's message that are to be checked. Raises RequestError."""
        if self._ownership is None or not may_name_objects(_leave_out_sound(message.content)):
            return ()
        found = find_object_ids(message.content, is_realtime=not self._makes_responses)
        return tuple(one for one in found if one not in self._own)

    async def check(self, message: Message, ids: tuple[str, ...]) -> None:
        """Raise RequestError if one of `ids`, which `message` names, is no object of the tenant."""
        assert self._ownership is not None
        previous = find_previous_response(message.content) if self._makes_responses else ""
        if previous in ids:
            try:
                await self._ownership.check_ids((previous,), self._tenant)
            except RequestError as exc:
                raise (_no_previous_response(previous) if exc.status == 404 else exc) from exc
        await self._ownership.check_ids(ids, self._tenant)

    def note(self, event: ServerEvent, content: bytes) -> None:
        """Take an event of the teacher's: its client may name what it tells of."""
        if not self._makes_responses or self._ownership is None:
            return
        if event.type in ENDS or event.type == CREATED:
            self._note_response(event, content)
        elif event.type == ITEM_DONE and event.item_id:
            self._add(event.item_id)

    def _note_response(self, event: ServerEvent, content: bytes) -> None:
        assert self._ownership is not None
        made = read_made_objects(content, "response")
        for one in made:
            self._add(one.id)
        if event.response_id:
            # An event that was too long to be kept names it all the same.
            self._add(event.response_id)
        # Containers outlive a response that is not stored.
        kept = [one for one in made if event.is_stored or one.kind == "container"]
        if kept:
            self._ownership.note(kept, self._tenant)

    def _add(self, object_id: str) -> None:
        if len(self._own) >= MOST_OWN:
            del self._own[next(iter(self._own))]
        self._own[object_id] = None


def _leave_out_sound(content: bytes) -> bytes:
    """Return the content without its long strings, if that is quick: names stand in short ones.

    A message of 15 MB would hold up the loop for 160 ms.
    """
    if content.count(b'"') > _FEW_QUOTES:
        return content
    return b'"'.join(part for part in content.split(b'"') if len(part) <= _LONGEST_NAME)


def _no_previous_response(response_id: str) -> RequestError:
    # As OpenAI's "WebSocket mode" guide: its clients send the whole conversation again when they read it.
    return RequestError(
        f"Previous response with id '{response_id[:100]}' not found.",
        status=400,
        param="previous_response_id",
        code="previous_response_not_found",
    )
