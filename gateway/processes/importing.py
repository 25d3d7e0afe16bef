"""Import of recorded conversations: rows by the rules of live ones, and lessons, never audits."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import msgspec

from gateway.cascade.private import private_reason
from gateway.confidence.agreement import canonical_text
from gateway.core import Grant, IncomingRequest, Outcome, Plan, Request, Route, hash_text
from gateway.errors import RequestError
from gateway.harvest.base import REPEATS, Row
from gateway.harvest.conversations import Conversation
from gateway.harvest.gather import row_of
from gateway.harvest.mistakes import Mistake, MistakeTally
from gateway.harvest.reader import HarvestReader
from gateway.harvest.redaction import RowRedactor
from gateway.harvest.sources import Record
from gateway.policy.load import load_policies
from gateway.policy.planner import PolicyPlanner
from gateway.policy.prepared import CHAT
from gateway.processes.harvest_access import open_harvest
from gateway.processes.imported_rows import ImportedRows
from gateway.processes.teachers import ONLY, list_terms
from gateway.routing.base import task_name
from gateway.settings import Settings
from gateway.store.audit_trail import name_local_actor
from gateway.store.home import read_audit_key
from gateway.store.state import open_state
from gateway.wire.chat.request import read_chat
from gateway.wire.surfaces import read_outcome

HELD_OUT_SHARE = 0.2
"""Of the texts, where a policy lets imported rows certify what they taught: 5,000 rows leave 1,000."""
_REQUEST_FIELDS = frozenset(
    {
        "messages", "model", "tools", "tool_choice", "response_format", "parallel_tool_calls", "store",
        "user", "safety_identifier",
    }
)  # fmt: skip
"""Of a record; what else is there (ids, notes, settings of sampling) says nothing of the task."""
_NAME_LETTERS = 8
"""By which two answers to one repeated request are told apart."""
_ANSWER_FIELDS = frozenset({"role", "content", "tool_calls", "refusal"})


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The caller that records are counted for: what they teach is served to the same callers alone."""

    caller: str
    tenant: str
    grant: Grant = Grant()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the records."""

    read: int
    imported: int
    copies: int
    """Of other records, or of rows that are there already."""
    failed: int
    held_out: int
    """Of those imported: not learnt, because a policy lets a certificate stand on them."""
    tasks: dict[str, int]
    errors: list[Mistake]
    """Why records failed; the first of the reasons."""


def import_records(
    records: Iterable[Record],
    settings: Settings,
    owner: Owner,
    like: Mapping[str, Any],
    *,
    is_dry_run: bool = False,
) -> Report:
    """Add `records` to the harvest as lessons, none of them as audits; may take seconds per 10,000.

    Where a policy says `imported: serve`, a share of them is held out instead: a certificate may stand on it.

    `like` has the fields of a request that records lack: the model, the system message, tools (as
    msgspec.Raw where the app's spelling is known, for a task is named by it). What
    a policy would not keep of a live request is not kept of a record. Raises ConfigError if the disk fails.
    """
    user_key = b"" if is_dry_run else _open_home(settings)
    binder = RecordBinder(settings, owner, like, user_key)
    counts: Counter[str] = Counter()
    tasks: Counter[str] = Counter()
    mistakes = MistakeTally()
    known, redactor = _Known(open_harvest(settings)), RowRedactor()
    with nullcontext() if is_dry_run else _open_rows(settings) as kept:
        for record in records:
            counts["read"] += 1
            row, error = binder.bind(record)
            # As it will be written: what is there already was redacted, too.
            if row is not None and row.private_kinds:
                row = redactor.redact_row(row)
            if row is None:
                counts["failed"] += 1
                mistakes.add(record, error)
            elif known.has_copy(row):
                counts["copies"] += 1
            else:
                tasks[row.task] += 1
                counts["held_out"] += row.is_held_out
                if kept is not None:
                    kept.put(row)
        if kept is not None:
            kept.flush()
    if not is_dry_run:
        with open_state(settings.home) as state:
            state.trail.add(name_local_actor(), "harvest import", rows=tasks.total(), tasks=[*tasks])
    return Report(
        read=counts["read"],
        imported=tasks.total(),
        copies=counts["copies"],
        failed=counts["failed"],
        held_out=counts["held_out"],
        tasks=dict(tasks),
        errors=mistakes.list_mistakes(),
    )


class RecordBinder:
    """Makes rows of records by the code that reads live requests."""

    def __init__(self, settings: Settings, owner: Owner, like: Mapping[str, Any], user_key: bytes) -> None:
        first = settings.teachers[0].name if settings.teachers else ONLY
        self._planner = PolicyPlanner(
            load_policies(settings.policies.folder),
            lambda _: 0.0,
            first_teacher=first,
            terms=list_terms(settings),
        )
        self._owner = owner
        self._like = dict(like)
        spelled = {name: value for name, value in like.items() if isinstance(value, msgspec.Raw)}
        self._spelled = {name: msgspec.json.decode(value) for name, value in spelled.items()}
        self._user_key = user_key
        self._at = time.time()

    def bind(self, record: Record) -> tuple[Row | None, str]:
        """Return the row of a record, or why it has none."""
        if record.conversation is None:
            return None, record.error
        if "model" not in {**self._like, **record.conversation.fields}:
            return None, "it names no model: say which one the app asks for, with --model or --like"
        try:
            request = self._read_request(record.conversation)
            plan = self._planner.plan(request)
        except (RequestError, RecursionError) as exc:
            return None, str(exc)
        if reason := _refusal(request, plan):
            return None, reason
        outcome = self._outcome(request, plan, record.conversation)
        row = row_of(outcome, read_outcome(outcome), user_key=self._user_key)
        if row is None or not row.answer:
            return None, "no answer that can be learnt"
        return (_follow(row, record.repeats) if record.repeats else row), ""

    def name_task(self, conversation: Conversation) -> str:
        """Return the id of the task that such a request belongs to. Raises RequestError."""
        request = self._read_request(conversation)
        return task_name(request.template, self._planner.plan(request).scope)

    def _read_request(self, conversation: Conversation) -> Request:
        given = {name: value for name, value in conversation.fields.items() if name in _REQUEST_FIELDS}
        # A log has the app's tools, not the app's spelling of them, by which its task is named.
        for name, value in self._spelled.items():
            if given.get(name) == value:
                del given[name]
        fields = {**self._like, **given}
        fields["messages"] = [*self._list_missing(fields["messages"]), *fields["messages"]]
        body = msgspec.json.encode(fields)
        name = hashlib.blake2b(body + msgspec.json.encode(conversation.answer), digest_size=16).hexdigest()
        incoming = IncomingRequest(
            id=name,
            caller=self._owner.caller,
            tenant=self._owner.tenant,
            grant=self._owner.grant,
            target=CHAT.path.encode(),
            resource=CHAT,
            headers=(),
            body=body,
            received_at=0.0,
        )
        return read_chat(incoming)

    def _list_missing(self, messages: list[Any]) -> list[Any]:
        """Return the system messages of `like` for a conversation without any."""
        system = ("system", "developer")
        if any(isinstance(message, dict) and message.get("role") in system for message in messages):
            return []
        return [message for message in self._like.get("messages", []) if message.get("role") in system]

    def _outcome(self, request: Request, plan: Plan, conversation: Conversation) -> Outcome:
        # In the order of the file: of two answers to a text the later is learnt.
        self._at += 1e-6
        answer = {name: value for name, value in conversation.answer.items() if name in _ANSWER_FIELDS}
        reason = "tool_calls" if answer.get("tool_calls") else "stop"
        choice = {"index": 0, "message": answer, "finish_reason": reason}
        return Outcome(
            request=request,
            plan=plan,
            route=Route(task_name(request.template, plan.scope)),
            decision="escalated",
            reason="imported",
            status=200,
            at=self._at,
            latency_ms=0.0,
            first_byte_ms=0.0,
            answer=msgspec.json.encode({"object": "chat.completion", "choices": [choice]}),
            # Of propensity 0: no coin drew it, so no window of audits holds it.
            is_held_out=plan.evidence == "imported" and _is_kept_back(request.text),
        )


class _Known:
    """Lessons and imported rows that are there: a text with the same answer is not added again."""

    def __init__(self, harvest: HarvestReader) -> None:
        self._harvest = harvest
        self._known: dict[str, set[tuple[int, int]]] = {}

    def has_copy(self, row: Row) -> bool:
        """Return whether `row` is known; it is from then on."""
        if row.task not in self._known:
            rows = self._harvest.rows(row.task, with_messages=False).rows
            # Not audits, which a coin drew: they teach nothing, and records of them may.
            self._known[row.task] = {_key(one) for one in rows if not (one.is_held_out and one.propensity)}
        known, key = self._known[row.task], _key(row)
        is_copy = key in known
        known.add(key)
        return is_copy


def _follow(row: Row, repeated: Row) -> Row:
    """Return `row` such that it is forgotten with the row whose request it repeats, and goes no later."""
    ends = [each.expires_at for each in (row, repeated) if each.expires_at is not None]
    name = f"{repeated.request_id}{REPEATS}{row.request_id[:_NAME_LETTERS]}"
    return msgspec.structs.replace(
        row, request_id=name, user=repeated.user, expires_at=min(ends, default=None)
    )


def _is_kept_back(text: str) -> bool:
    """Whether records of `text` are held out: all or none of them, at every import."""
    return hash_text(text) < HELD_OUT_SHARE * 2**64


def _refusal(request: Request, plan: Plan) -> str:
    """Return why nothing may be learnt from such a request; empty if something may."""
    if not plan.may_harvest or not request.may_harvest:
        return f"policy '{plan.policy}' keeps nothing of it"
    if request.unsupported_reason:
        return f"no specialist can be asked for it: {request.unsupported_reason}"
    return private_reason(request, plan) if plan.private_kinds else ""


def _open_home(settings: Settings) -> bytes:
    """Make the home if it is new, and return the key of `hash_user`."""
    settings.home.make()
    return read_audit_key(settings.home)


@contextmanager
def _open_rows(settings: Settings) -> Iterator[ImportedRows]:
    with open_state(settings.home) as state, closing(ImportedRows(settings, state)) as kept:
        yield kept


def _key(row: Row) -> tuple[int, int]:
    return hash_text(row.text), hash_text(canonical_text(row.answer))
