"""Objects at the teacher belong to the tenant that made them, though all share the gateway's account."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

from gateway.core import Body, Endpoint, Plan, Request
from gateway.errors import RequestError
from gateway.wire.large_body import LARGE_BYTES
from gateway.wire.object_ids import (
    MadeObject,
    find_ids_of_query,
    find_object_ids,
    read_made_objects,
    read_objects_of_events,
    reads_whole_account,
)
from gateway.wire.sse import EventSplitter

logger = logging.getLogger(__name__)

# The largest answer in which new objects are looked for; longer ones pass, and what they made stays unknown.
MAX_ANSWER_BYTES = 64 << 20
# The longest that an answer waits for the disk to take its owner; a write takes a millisecond.
NOTE_S = 1.0


class OwnerStore(Protocol):
    """Where owners are kept; `find_owners` and `flush` may block."""

    def find_owners(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the tenants of `ids`; unknown ones are left out."""

    def add(self, objects: Iterable[tuple[str, str]], tenant: str) -> None:
        """Remember each (id, kind), unless it has an owner; never blocks."""

    def flush(self) -> None:
        """Let other processes know them too. May raise any exception: what was added is still known here."""


class ObjectOwnership:
    """Holds each tenant to its own objects, where all share the gateway's account at the teacher."""

    def __init__(self, owners: OwnerStore) -> None:
        self._owners = owners

    async def check(self, request: Request, plan: Plan) -> None:
        """Raise RequestError if `request` names another's or an unknown object (404), or lists all (403).

        Names are read in the path, the query, the form and the JSON body.
        """
        if plan.shares_objects:
            return
        endpoint = request.resource.endpoint
        if endpoint is not None and _lists_account(endpoint, request.content):
            raise RequestError(
                "This shows the objects of all users of the account. The operator can allow it with "
                "a policy that says `objects: shared`.",
                status=403,
                code="list_not_allowed",
            )
        if len(request.content) > LARGE_BYTES:
            ids = await asyncio.to_thread(list_named_objects, request)
        else:
            ids = list_named_objects(request)
        await self.check_ids(ids, request.tenant)

    async def check_ids(self, ids: Sequence[str], tenant: str) -> None:
        """Raise RequestError (404) if one of `ids` is not an object of `tenant`."""
        if not ids:
            return
        found = await asyncio.to_thread(self._owners.find_owners, ids)
        for one in ids:
            if found.get(one) != tenant:
                raise _not_found(one)

    def note(self, made: Iterable[MadeObject], tenant: str) -> asyncio.Task[None]:
        """Remember these as objects of `tenant`; other workers know it when the task returned has ended."""
        self._owners.add([(one.id, one.kind) for one in made], tenant)
        flushing = asyncio.create_task(asyncio.to_thread(self._owners.flush))
        flushing.add_done_callback(_read_fault)
        return flushing

    def follows(self, request: Request) -> bool:
        """Return whether the answer to `request` may tell of new objects."""
        endpoint = request.resource.endpoint
        if endpoint is None:
            return False
        # A response that is not stored may still have run code in a container that is.
        tells = endpoint.makes == "response" or endpoint.path.startswith("/v1/fine_tuning/jobs/{")
        return _makes(request) or endpoint.usage == "later" or tells or _lists_items(request)

    def note_owner(self, request: Request, body: Body, *, is_stream: bool) -> Body:
        """Return `body`, held back where it tells of new objects until their owner is noted."""
        endpoint = request.resource.endpoint
        kind = endpoint.makes if endpoint and _makes(request) else ""
        kind = "item" if _lists_items(request) else kind
        return _NotingBody(body, self, request.tenant, kind, is_stream=is_stream)


def list_named_objects(request: Request) -> tuple[str, ...]:
    """Return the ids of objects that `request` names in its path, its query and its body."""
    in_path = tuple(value for name, value in request.resource.ids if name.endswith("_id"))
    in_query = find_ids_of_query(request.target) if b"?" in request.target else ()
    return in_path + in_query + request.form_ids + find_object_ids(request.content)


def _makes(request: Request) -> bool:
    endpoint = request.resource.endpoint
    if endpoint is None or request.resource.method != "POST":
        return False
    is_kept = endpoint.makes not in ("completion", "response") or request.is_stored
    return bool(endpoint.makes) and is_kept


def _lists_account(endpoint: Endpoint, body: bytes) -> bool:
    is_run = endpoint.path == "/v1/evals/{eval_id}/runs"
    return endpoint.access == "list" or (is_run and reads_whole_account(body))


def _lists_items(request: Request) -> bool:
    """Return whether the answer lists items of a response or a conversation of the caller's own."""
    endpoint = request.resource.endpoint
    return endpoint is not None and endpoint.path.endswith(("_id}/items", "_id}/input_items"))


def _not_found(object_id: str) -> RequestError:
    return RequestError(
        f"No such object: '{object_id[:100]}'. Objects made elsewhere are unknown here until the operator "
        "claims them (`stepdown objects claim`).",
        status=404,
        param="id",
        code="object_not_found",
    )


class _NotingBody:
    """A body that passes only after the objects in it have an owner."""

    def __init__(
        self, body: Body, ownership: ObjectOwnership, tenant: str, kind: str, *, is_stream: bool
    ) -> None:
        self._body = body
        self._ownership = ownership
        self._tenant = tenant
        self._kind = kind
        self._is_stream = is_stream
        self._noted: set[str] = set()
        self._pieces = self._read_stream() if is_stream else self._read_whole()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Close the source."""
        await self._body.aclose()

    async def _read_whole(self) -> AsyncIterator[bytes]:
        held: list[bytes] = []
        size = 0
        async for piece in self._body:
            held.append(piece)
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                for one in held:
                    yield one
                held = []
        if held:
            answer = b"".join(held)
            await self._note(read_made_objects(answer, self._kind))
            yield answer

    async def _read_stream(self) -> AsyncIterator[bytes]:
        events = EventSplitter()
        async for piece in self._body:
            if ready := events.feed(piece):
                await self._note(read_objects_of_events(ready, self._kind))
                yield ready
        if rest := events.take_rest():
            await self._note(read_objects_of_events(rest, self._kind))
            yield rest

    async def _note(self, made: Sequence[MadeObject]) -> None:
        new = [one for one in made if one.id not in self._noted]
        if new:
            self._noted.update(one.id for one in new)
            # The answer waits until every worker knows the owner; but no full or slow disk may cost it.
            await asyncio.wait([self._ownership.note(new, self._tenant)], timeout=NOTE_S)


def _read_fault(flushing: asyncio.Task[None]) -> None:
    if not flushing.cancelled() and (exc := flushing.exception()):
        logger.debug("owners are noted on the disk later: %s", exc)
