"""Rows of recorded conversations, made by the code that reads live requests."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.cascade.private import private_reason
from gateway.core import Grant, IncomingRequest, Outcome, Plan, Request, Route, hash_text
from gateway.errors import RequestError
from gateway.harvest.base import REPEATS, Row
from gateway.harvest.conversations import Conversation, RecordedSurface
from gateway.harvest.gather import row_of
from gateway.harvest.sources import Record
from gateway.policy.load import load_policies
from gateway.policy.planner import PolicyPlanner
from gateway.policy.prepared import CHAT, RESPONSES
from gateway.processes.teachers import ONLY, list_terms
from gateway.routing.base import task_name
from gateway.settings import Settings
from gateway.wire.chat.request import read_chat
from gateway.wire.responses.request import read_responses
from gateway.wire.surfaces import read_outcome

HELD_OUT_SHARE = 0.2
"""Of the texts, where a policy lets imported rows certify what they taught: 5,000 rows leave 1,000."""
_SHARED_FIELDS = frozenset(
    {"model", "tools", "tool_choice", "parallel_tool_calls", "store", "user", "safety_identifier"}
)
_REQUEST_FIELDS: dict[RecordedSurface, frozenset[str]] = {
    "chat": _SHARED_FIELDS | {"messages", "response_format"},
    "responses": _SHARED_FIELDS
    | {"input", "instructions", "text", "previous_response_id", "conversation", "prompt"},
}
"""Of a record; what else is there (ids, notes, settings of sampling) says nothing of the task."""
_NAME_LETTERS = 8
"""By which two answers to one repeated request are told apart."""
_ANSWER_FIELDS = frozenset({"role", "content", "tool_calls", "refusal"})


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The caller that records are counted for: what they teach is served to the same callers alone."""

    caller: str
    tenant: str
    grant: Grant = Grant()


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request belongs."""

    task: str
    refusal: str
    """Why nothing may be learnt from it; empty if something may."""
    teachers: tuple[str, ...]
    """Those of its policy, of which the first teaches; empty: as the settings list them."""


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
        conversation = record.conversation
        if conversation is None:
            return None, record.error
        if fault := self._find_fault(conversation):
            return None, fault
        try:
            request = self._read_request(conversation)
            plan = self._planner.plan(request)
        except (RequestError, RecursionError) as exc:
            return None, str(exc)
        if reason := _refusal(request, plan):
            return None, reason
        outcome = self._outcome(request, plan, conversation)
        row = row_of(outcome, read_outcome(outcome), user_key=self._user_key)
        if row is None or not row.answer:
            return None, "no answer that can be learnt"
        return (_follow(row, record.repeats) if record.repeats else row), ""

    def note_unlearnt(self, record: Record) -> Row | None:
        """Return the row that tells that what a row asked was asked again in vain; it teaches nothing.

        None for other records, and where a policy keeps nothing.
        """
        repeated, conversation = record.repeats, record.conversation
        if repeated is None or conversation is None:
            return None
        request = self._read_request(conversation)
        plan = self._planner.plan(request)
        if not plan.may_harvest or not request.may_harvest:
            return None
        self._at += 1e-6
        asked = msgspec.structs.replace(
            repeated, request_id=request.id, at=self._at, task=task_name(request.template, plan.scope),
            match="fingerprint", place="", model=request.model, template=request.template,
            contract_hash=request.contract_hash, answer="", reply=b"", ending="refused", is_lesson=False,
            prompt_tokens=0, completion_tokens=0, draft="", draft_version=0, draft_score=0.0,
            scope=plan.scope, policy=plan.policy, is_restricted=plan.is_restricted,
            private_kinds=tuple(sorted(plan.private_kinds)),
        )  # fmt: skip
        return _follow(asked, repeated)

    def find_task(self, conversation: Conversation) -> Binding:
        """Return the task that such a request belongs to. Raises RequestError."""
        request = self._read_request(conversation)
        plan = self._planner.plan(request)
        return Binding(
            task=task_name(request.template, plan.scope),
            refusal=_refusal(request, plan),
            teachers=plan.teachers,
        )

    def _find_fault(self, conversation: Conversation) -> str:
        """Return what is wrong with a record and `like` together; empty if nothing is."""
        if "model" not in {**self._like, **conversation.fields}:
            return "it names no model: say which one the app asks for, with --model or --like"
        is_chat = conversation.surface == "chat"
        if ("input" if is_chat else "messages") in self._like:
            apis = ("chat API", "Responses API") if is_chat else ("Responses API", "chat API")
            return f"it is of the {apis[0]}, the request of --like of the {apis[1]}"
        return ""

    def _read_request(self, conversation: Conversation) -> Request:
        is_chat = conversation.surface == "chat"
        known = _REQUEST_FIELDS[conversation.surface]
        given = {name: value for name, value in conversation.fields.items() if name in known}
        # A log has the app's tools, not the app's spelling of them, by which its task is named.
        for name, value in self._spelled.items():
            if given.get(name) == value or (conversation.is_echo and name in given):
                del given[name]
        fields = {**self._like, **given}
        self._add_template(fields, given, "messages" if is_chat else "input")
        body = msgspec.json.encode(fields)
        name = hashlib.blake2b(body + msgspec.json.encode(conversation.answer), digest_size=16).hexdigest()
        resource = CHAT if is_chat else RESPONSES
        incoming = IncomingRequest(
            id=name,
            caller=self._owner.caller,
            tenant=self._owner.tenant,
            grant=self._owner.grant,
            target=resource.path.encode(),
            resource=resource,
            headers=(),
            body=body,
            received_at=0.0,
        )
        return read_chat(incoming) if is_chat else read_responses(incoming)

    def _add_template(self, fields: dict[str, Any], given: Mapping[str, Any], name: str) -> None:
        """Give a conversation without system messages those of `like`; `name` is the field of its items."""
        items = given[name]
        if not (given.get("instructions") or _list_system(items)):
            if missing := _list_system(self._like.get(name)):
                items = [{"role": "user", "content": items}] if isinstance(items, str) else items
                fields[name] = [*missing, *items]
        elif "instructions" in fields:
            # What it has of its own counts alone.
            fields["instructions"] = given.get("instructions")

    def _outcome(self, request: Request, plan: Plan, conversation: Conversation) -> Outcome:
        # In the order of the file: of two answers to a text the later is learnt.
        self._at += 1e-6
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
            answer=_render_answer(conversation),
            # Of propensity 0: no coin drew it, so no window of audits holds it.
            is_held_out=plan.evidence == "imported" and _is_kept_back(request.text),
        )


def _list_system(items: Any) -> list[Any]:
    """Return the system messages of a list of messages or items; of a text none."""
    listed = items if isinstance(items, list) else []
    return [one for one in listed if isinstance(one, dict) and one.get("role") in ("system", "developer")]


def _render_answer(conversation: Conversation) -> bytes:
    """Return the teacher's answer as its API has it."""
    if conversation.surface == "responses":
        return msgspec.json.encode({"object": "response", **conversation.answer})
    answer = {name: value for name, value in conversation.answer.items() if name in _ANSWER_FIELDS}
    reason = "tool_calls" if answer.get("tool_calls") else "stop"
    choice = {"index": 0, "message": answer, "finish_reason": reason}
    return msgspec.json.encode({"object": "chat.completion", "choices": [choice]})


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
