"""The newest answers of specialists, in memory alone, until an app complains of one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from gateway.core import (
    Draft,
    Grant,
    IncomingRequest,
    MatchKind,
    Outcome,
    Plan,
    PrivateKind,
    Reading,
    Request,
    Route,
    SurfaceName,
)
from gateway.harvest.base import Row
from gateway.harvest.gather import local_row_of, may_be_reviewed
from gateway.wire.chat.request import read_chat
from gateway.wire.responses.request import read_responses

OVERHEAD_BYTES = 192
"""Of an answer beside its record: the key, Python's own; measured at 170."""
_READ: dict[SurfaceName, Callable[[IncomingRequest], Request]] = {
    "chat": read_chat,
    "responses": read_responses,
}


class _Answer(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the row of an answer can be made of: of the request its bytes, and no credentials."""

    at: float
    request_id: str
    caller: str
    tenant: str
    is_vouched_for: bool
    surface: SurfaceName
    content: bytes
    policy: str
    scope: str
    is_restricted: bool
    private_kinds: frozenset[PrivateKind]
    keep_days: tuple[float | None, float | None]
    task: str
    match: MatchKind
    place: str
    propensity: float
    draft: str
    draft_version: int
    draft_score: float


_pack_into = msgspec.msgpack.Encoder().encode_into
_unpack = msgspec.msgpack.Decoder(_Answer).decode


class RecentAnswers:
    """An observer that remembers what specialists answered, the newest `max_bytes` of it. Never blocks.

    What may not be harvested is never remembered. Threads may share it. `user_key` is the secret of
    `hash_user`.
    """

    def __init__(self, max_bytes: int, *, user_key: bytes = b"") -> None:
        self.size_bytes = 0
        self._max_bytes = max_bytes
        self._user_key = user_key
        self._lock = threading.Lock()
        self._buffer = bytearray()
        # One record of bytes each: half the size of a row, and nothing that the garbage collector looks into
        # (5,000 outcomes: 16 ms). Not a dict: its first key is looked for behind all that were deleted.
        self._records: OrderedDict[str, bytes] = OrderedDict()
        """By request id, the oldest first."""

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Remember `outcome` if a specialist answered it."""
        if not self._max_bytes or not may_be_reviewed(outcome):
            return
        request_id, answer = outcome.request.id, _answer_of(outcome, reading)
        with self._lock:
            # What `encode` returns may take half as much again as it says.
            _pack_into(answer, self._buffer)
            record = bytes(self._buffer)
            self._remove(request_id)
            self._records[request_id] = record
            self.size_bytes += OVERHEAD_BYTES + len(record)
            while self.size_bytes > self._max_bytes:
                _, oldest = self._records.popitem(last=False)
                self.size_bytes -= OVERHEAD_BYTES + len(oldest)

    def find(self, request_id: str, tenant: str, caller: str) -> Row | None:
        """Return the answer to a request of that caller; None if none is remembered."""
        with self._lock:
            record = self._records.get(request_id)
        if record is None:
            return None
        answer = _unpack(record)
        if (answer.tenant, answer.caller) != (tenant, caller):
            return None
        return local_row_of(_outcome_of(answer), user_key=self._user_key)

    def forget(self, request_id: str) -> None:
        """Remember that answer no longer."""
        with self._lock:
            self._remove(request_id)

    def forget_before(self, at: float) -> None:
        """Remember no longer what ended by then, in unix seconds."""
        with self._lock:
            # They come in the order of their ends, give or take a moment.
            while self._records and _unpack(next(iter(self._records.values()))).at <= at:
                self._remove(next(iter(self._records)))

    def _remove(self, request_id: str) -> None:
        if (record := self._records.pop(request_id, None)) is not None:
            self.size_bytes -= OVERHEAD_BYTES + len(record)


def _answer_of(outcome: Outcome, reading: Reading) -> _Answer:
    request, plan, draft, route = outcome.request, outcome.plan, outcome.draft, outcome.route
    assert draft is not None
    assert route is not None
    return _Answer(
        at=outcome.at,
        request_id=request.id,
        caller=request.caller,
        tenant=request.tenant,
        is_vouched_for=request.is_vouched_for,
        surface=request.surface,
        content=request.content,
        policy=plan.policy,
        scope=plan.scope,
        is_restricted=plan.is_restricted,
        private_kinds=plan.private_kinds,
        keep_days=(plan.keep_days, request.grant.keep_days),
        task=route.task,
        match=route.match,
        place=route.place,
        propensity=outcome.audit_propensity,
        draft=draft.text if draft.stream is None else reading.text or "",
        draft_version=draft.version,
        draft_score=draft.score,
    )


def _outcome_of(answer: _Answer) -> Outcome:
    """Return the outcome again, as far as a row tells of it."""
    keep_days, grant_days = answer.keep_days
    incoming = IncomingRequest(
        id=answer.request_id,
        caller=answer.caller,
        target=b"",
        headers=(),
        body=answer.content,
        received_at=0.0,
        tenant=answer.tenant,
        is_vouched_for=answer.is_vouched_for,
        grant=Grant(keep_days=grant_days),
    )
    return Outcome(
        request=_READ[answer.surface](incoming),
        plan=Plan(
            policy=answer.policy,
            may_serve=True,
            scope=answer.scope,
            keep_days=keep_days,
            is_restricted=answer.is_restricted,
            private_kinds=answer.private_kinds,
        ),
        route=Route(answer.task, answer.match, place=answer.place),
        decision="local",
        reason="",
        status=200,
        at=answer.at,
        latency_ms=0.0,
        first_byte_ms=0.0,
        audit_propensity=answer.propensity,
        draft=Draft(
            text=answer.draft, score=answer.draft_score, task=answer.task, version=answer.draft_version
        ),
    )
