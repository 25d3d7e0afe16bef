"""From outcomes to the rows that the harvest keeps."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.core import Draft, Ending, Outcome, Reading, Route, Usage, ending_of
from gateway.harvest.base import Row, Sink, hash_user
from gateway.harvest.retention import find_expiry
from gateway.wire.replies import Reply
from gateway.wire.surfaces import codec_of, read_replies
from gateway.wire.tool_calls import CALL_BEGIN

_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode

LONGEST_EXPORT_BYTES = 1 << 20
"""Of a request that is kept for exports alone: pictures would fill the disk before texts do."""

NameTask = Callable[[str, str], str]
"""Takes a request's template and scope; returns the task that it belongs to, if it belongs to any."""

_NO_DRAFT = Draft(text="", score=0.0, task="", version=0)
_UNREAD = Reading(text=None)
"""Of an answer that is no teacher's."""


class Gatherer:
    """An observer that puts the teacher's usable answers into a sink. Never raises, never blocks.

    `user_key` is the secret of `hash_user`. With `name_task` the answers to requests that no specialist
    was asked for are kept too, for exports alone.
    """

    def __init__(self, sink: Sink, *, user_key: bytes = b"", name_task: NameTask | None = None) -> None:
        self._sink = sink
        self._user_key = user_key
        self._name_task = name_task

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Keep the row of `outcome`, if there is one."""
        row = row_of(outcome, reading, user_key=self._user_key, name_task=self._name_task)
        if row is not None:
            self._sink.put(row)


def row_of(
    outcome: Outcome, reading: Reading, *, user_key: bytes = b"", name_task: NameTask | None = None
) -> Row | None:
    """Return what can be learnt from `outcome`; None when nothing can or may be.

    Only whole answers of the teacher teach, texts and tool calls: one cut short, filtered or
    refused would teach the specialist to do the same. Held out, such an answer is evidence all the same.
    What a specialist could not be asked, or not answer, is kept for exports if `name_task` is given.
    """
    route, ending = outcome.route, ending_of(outcome, reading)
    # The reserve of a budget pays for audits of drafts that pass, and for nothing else: rows that a
    # decision has chosen are no evidence.
    if not may_be_kept(outcome) or outcome.plan.is_reserve:
        return None
    if route is not None and _is_useful(ending, outcome):
        is_text = reading.text is not None and not reading.text.startswith(CALL_BEGIN)
        replies = [] if is_text else read_replies(outcome)
        return _make_row(outcome, reading, route, ending, replies=replies, user_key=user_key)
    if name_task is None or not _may_be_exported(outcome):
        return None
    route = route or Route(name_task(outcome.request.template, outcome.plan.scope))
    replies = read_replies(outcome)
    if not replies:
        return None
    return _make_row(outcome, reading, route, "whole", replies=replies, user_key=user_key, is_lesson=False)


def local_row_of(outcome: Outcome, *, user_key: bytes = b"") -> Row | None:
    """Return a specialist's answer as a row for reviewers: no lesson without their word, and no evidence.

    Its draft is what was served, whole. None if a chat could not say the same.
    """
    assert outcome.route is not None, "see may_be_reviewed"
    return _make_row(outcome, _UNREAD, outcome.route, "none", replies=[], user_key=user_key, is_lesson=False)


def may_be_reviewed(outcome: Outcome) -> bool:
    """Return whether a specialist answered to the end, and what it was asked and said may be kept."""
    if outcome.decision != "local" or outcome.draft is None or outcome.route is None:
        return False
    # What a coin drew as evidence is never trained on, not even in a reviewer's words.
    return outcome.is_complete and not outcome.is_held_out and may_be_kept(outcome)


def may_be_kept(outcome: Outcome) -> bool:
    """Return whether client, key and policy allow to keep what was asked and answered."""
    return outcome.request.may_harvest and outcome.plan.may_harvest


def _make_row(
    outcome: Outcome,
    reading: Reading,
    route: Route,
    ending: Ending,
    *,
    replies: list[Reply],
    user_key: bytes,
    is_lesson: bool = True,
) -> Row | None:
    request, plan, draft = outcome.request, outcome.plan, outcome.draft
    if draft is None or draft.stream is not None:
        # Of a draft that was given up in its midst only the beginning is known.
        draft = _NO_DRAFT
    kept = codec_of(request).keep_request(request)
    if kept is None:
        return None
    usage = reading.usage or Usage(0, 0)
    is_text = len(replies) == 1 and not replies[0].tool_calls
    return Row(
        request_id=request.id,
        at=outcome.at,
        task=route.task,
        match=route.match,
        model=request.model,
        template=request.template,
        template_text=request.template_text,
        contract_hash=request.contract_hash,
        text=request.text,
        answer=reading.text or "",
        messages=kept.messages,
        is_held_out=outcome.is_held_out,
        propensity=outcome.audit_propensity,
        ending=ending,
        form=request.form,
        demands=_encode(request.demands) if outcome.is_held_out else b"",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        caller=request.caller,
        tenant=request.tenant,
        is_vouched_for=request.is_vouched_for,
        scope=plan.scope,
        place=route.place,
        tools=kept.tools,
        response_format=kept.response_format,
        may_call_in_parallel=kept.may_call_in_parallel,
        reply=b"" if is_text or not replies else _encode_json(replies),
        is_lesson=is_lesson,
        draft=draft.text,
        draft_version=draft.version,
        draft_score=draft.score,
        policy=plan.policy,
        user=hash_user(kept.user, user_key),
        is_restricted=plan.is_restricted,
        private_kinds=tuple(sorted(plan.private_kinds)) if plan.private_kinds else (),
        expires_at=find_expiry(outcome.at, plan.keep_days, request.grant.keep_days),
    )


def _is_useful(ending: Ending, outcome: Outcome) -> bool:
    return ending == "whole" or (outcome.is_held_out and ending != "none")


def _may_be_exported(outcome: Outcome) -> bool:
    """Return whether the teacher's answer to a conversation arrived whole, of any kind of conversation."""
    request = outcome.request
    is_conversation = (
        request.surface in ("chat", "responses") and len(request.content) <= LONGEST_EXPORT_BYTES
    )
    is_received = outcome.status == 200 and outcome.is_complete and outcome.is_captured
    return is_conversation and is_received and outcome.decision in ("bypass", "escalated")
