"""What holds in every run, whatever fails in it: each function yields how a history breaks it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator

from gateway.processes.drain import LAST_WORDS_S
from tests.simulation.history import Exchange, History
from tests.simulation.teacher import PROMPT_TOKENS
from tests.simulation.text import number_of

Invariant = Callable[[History], Iterator[str]]

CENT = 1e-6
USD_PER_TOKEN = 0.001
# After a client has left: the watch begins 0.05 s after the body, and what runs is then cancelled.
FREED_WITHIN_S = 0.1
_VOICES = re.compile(rb"teacher |draft of ")


def every_request_is_answered_once(history: History) -> Iterator[str]:
    """A client that stays gets one head and one end, or its connection is cut; nothing comes after."""
    for each in history.exchanges:
        if each.was_at_closed_door:
            continue
        if each.ended_at is None:
            yield f"request {each.number} never ended"
        if len(each.heads) > 1 or each.sent_after_the_end:
            yield f"request {each.number} was answered again: {each.heads}"
        if each.stayed and not each.heads:
            yield f"request {each.number} was not answered"


def every_request_leaves_one_outcome(history: History) -> Iterator[str]:
    """What was answered with 200 or asked of the teacher leaves one Outcome, the rest at most one.

    One gap is known: a bug in drafting breaks off a hedge, and if the request then ends without an answer,
    nothing tells what the hedge took.
    """
    counts = Counter(number_of(outcome.request.text) for outcome, _ in history.outcomes)
    needed = {call.number for call in history.calls} - history.with_bug
    needed |= {each.number for each in history.exchanges if each.status == 200}
    for number, count in counts.items():
        if count > 1:
            yield f"request {number} left {count} outcomes"
    for number in needed - set(counts):
        yield f"request {number} left no outcome"


def no_stream_has_two_answers(history: History) -> Iterator[str]:
    """A stream is of one answer, and nothing follows its end."""
    for each in history.exchanges:
        voices = set(_VOICES.findall(each.body))
        if len(voices) > 1:
            yield f"request {each.number} got two answers"
        if not each.is_streamed or each.status != 200:
            continue
        ids = {event.get("id") for event in _chunks(each)}
        if len(ids) > 1:
            yield f"request {each.number} got chunks of {ids}"
        if b"[DONE]" in each.events[:-1]:
            yield f"request {each.number} got more after [DONE]"


def no_broken_answer_looks_whole(history: History) -> Iterator[str]:
    """Whose answer lacks its end is told so, by an error event or a cut connection."""
    for each in history.exchanges:
        if each.looks_whole and not _has_end(each):
            yield f"request {each.number} cannot tell that its answer is broken"
        if each.is_streamed and b"[DONE]" in each.events and not each.has_finish:
            yield f"request {each.number} got [DONE] without an end"
        if each.stayed and not each.was_at_closed_door and not (each.looks_whole or each.is_error_told):
            yield f"request {each.number} got an end that says nothing"


def only_whole_answers_are_harvested(history: History) -> Iterator[str]:
    """No stream that was cut, by the teacher, its client or the drain, becomes a lesson."""
    exchanges = {each.number: each for each in history.exchanges}
    whole = {call.number for call in history.calls if call.has_ended and call.text}
    for row in history.rows:
        number = number_of(row.text)
        if row.ending != "whole":
            continue
        if number not in whole or row.answer != f"teacher {number}":
            yield f"request {number} was harvested as {row.answer!r}, and was not whole"
        if exchanges[number].stayed and not exchanges[number].looks_whole:
            yield f"request {number} was harvested, but its client did not get it"


def no_audit_is_a_lesson(history: History) -> Iterator[str]:
    """What the coin held out is kept as evidence, and nothing else is."""
    for row in history.rows:
        number = number_of(row.text)
        if row.is_held_out != (number in history.held_out):
            yield f"request {number} was held out: {number in history.held_out}, kept as {row.is_held_out}"


def nothing_is_harvested_twice(history: History) -> Iterator[str]:
    """Each usable answer leaves one row, a full disk or not."""
    for number, count in Counter(number_of(row.text) for row in history.rows).items():
        if count > 1:
            yield f"request {number} left {count} rows"


def budgets_are_overrun_only_by_what_answers_took(history: History) -> Iterator[str]:
    """Beyond a budget goes only what an answer took above its reservation, and what a hedge took."""
    limits = {"policy paid": history.policy_usd}
    limits |= {name: each.usd_per_day for name, each in history.limits.items() if each.usd_per_day}
    for name, limit in limits.items():
        excess = 0.0
        for outcome, reading in history.outcomes:
            is_of_it = name in {"policy paid", outcome.request.caller}
            usd = reading.cost.usd if reading.cost else 0.0
            reserved = outcome.reservation.usd if outcome.reservation else 0.0
            excess += max(0.0, usd - reserved) if is_of_it else 0.0
        spent_usd = history.spent_usd.get(name, 0.0)
        if spent_usd > limit + excess + CENT:
            spent = f"${spent_usd:.4f} of ${limit:.4f}"
            yield f"{name} spent {spent}; answers exceeded what was set aside by ${excess:.4f}"


def reservations_return_to_zero(history: History) -> Iterator[str]:
    """When all is settled, nothing is set aside."""
    for number, left in enumerate(history.leftovers):
        if left.reserved_usd:
            yield f"worker {number} sees set aside: {left.reserved_usd}"


def rates_hold_over_any_window(history: History) -> Iterator[str]:
    """In any window a key is admitted its limit and what refills meanwhile, over all workers."""
    for key, limits in history.limits.items():
        if limits.requests_per_minute is None:
            continue
        times = sorted(_admitted(history, key))
        for first, start in enumerate(times):
            for last in range(first, len(times)):
                most = limits.requests_per_minute * (1 + (times[last] - start) / 60)
                if last - first + 1 > most + CENT:
                    yield f"{key}: {last - first + 1} admitted within {times[last] - start:.2f} s"


def concurrency_holds(history: History) -> Iterator[str]:
    """A key never has more under way than its limit, over all workers."""
    for key, limits in history.limits.items():
        if limits.concurrent_requests is None:
            continue
        mine = [each for each in history.exchanges if each.key == key and each.admitted_at is not None]
        for each in mine:
            at = each.admitted_at or 0.0
            under_way = [
                one for one in mine if (one.admitted_at or 0.0) <= at < (one.ended_at or float("inf"))
            ]
            if len(under_way) > limits.concurrent_requests:
                yield f"{key}: {len(under_way)} under way at {at:.3f}"


def closed_doors_stay_closed(history: History) -> Iterator[str]:
    """No request begins at a worker after its doors were to be closed."""
    for each in history.exchanges:
        closed_at = history.drains.get(each.worker)
        if closed_at is not None and each.sent_at > closed_at + CENT and not each.was_at_closed_door:
            yield f"request {each.number} entered worker {each.worker} {each.sent_at - closed_at:.3f} s late"


def a_drain_ends_in_time_and_says_so(history: History) -> Iterator[str]:
    """What is under way ends within the drain's time, answered or told that it is not."""
    for each in history.exchanges:
        closed_at = history.drains.get(each.worker)
        if closed_at is None or each.was_at_closed_door or each.ended_at is None:
            continue
        if each.ended_at > closed_at + history.drain_s + LAST_WORDS_S + CENT:
            yield f"request {each.number} outlived the drain"
        was_cut = each.ended_at >= closed_at + history.drain_s - CENT
        # A body with a length can only be cut by its connection; a stream could say more.
        is_told = each.looks_whole or each.status >= 400 or each.is_finished or not each.is_streamed
        if was_cut and each.stayed and not (is_told and each.heads):
            yield f"request {each.number} was cut without a word"


def a_client_that_left_frees_its_place(history: History) -> Iterator[str]:
    """Soon after a client has left, its request is at an end: its slots, and the teacher's connection."""
    calls = {call.number: call for call in history.calls}
    for each in history.exchanges:
        if each.left_at is None or each.was_at_closed_door:
            continue
        if each.ended_at is not None and each.ended_at > each.left_at + FREED_WITHIN_S:
            yield f"request {each.number} went on for {each.ended_at - each.left_at:.2f} s"
        call = calls.get(each.number)
        if call and (call.closed_at is None or call.closed_at > each.left_at + FREED_WITHIN_S):
            yield f"request {each.number}: the teacher wrote on for a client that had left"


def what_left_early_is_booked_as_received(history: History) -> Iterator[str]:
    """The Outcome of a client that left holds what was sent to it, and is complete only if all was."""
    exchanges = {each.number: each for each in history.exchanges}
    for outcome, _ in history.outcomes:
        each = exchanges[number_of(outcome.request.text)]
        if each.stayed or not each.heads or outcome.status != 200:
            continue
        if (
            outcome.encoding == ""
            and not outcome.answer.startswith(each.body)
            and not outcome.is_event_stream
        ):
            yield f"request {each.number} is booked as {outcome.answer!r}, and got {each.body!r}"
        has_ended = any(call.has_ended for call in history.calls if call.number == each.number)
        if outcome.is_complete and outcome.decision != "local" and not has_ended:
            yield f"request {each.number} is booked as complete, and was not"


def nothing_is_held_at_the_end(history: History) -> Iterator[str]:
    """No slot, no place in a limit, no connection to the teacher, no draft, no waiting row is left."""
    for number, left in enumerate(history.leftovers):
        if left.in_flight or left.by_caller or left.under_way or left.waiting:
            yield f"worker {number} still holds {left}"
    for call in history.calls:
        if call.closed_at is None:
            yield f"request {call.number}: the teacher's connection is open"
    if history.open_streams:
        yield f"{history.open_streams} drafts are still being written"


def an_alarm_stops_local_service(history: History) -> Iterator[str]:
    """After an alarm no draft of its task is accepted, not even one that was begun before."""
    exchanges = {each.number: each for each in history.exchanges}
    for verdict in history.verdicts:
        task = history.tasks[history.tenants[exchanges[verdict.number].key]]
        if verdict.at > history.alarms.get(task, float("inf")):
            yield f"request {verdict.number}: a draft was accepted after the alarm"


def drafts_are_served_above_their_threshold_to_their_tenant(history: History) -> Iterator[str]:
    """A local answer has the score that its certificate asks for, and was learnt from its own tenant."""
    exchanges = {each.number: each for each in history.exchanges}
    for outcome, _ in history.outcomes:
        draft = outcome.draft
        if outcome.decision != "local" or draft is None:
            continue
        number = number_of(outcome.request.text)
        if draft.score < history.thresholds["learnt" if draft.is_learnt else "new"]:
            yield f"request {number} was served a draft of score {draft.score:.3f}"
        if draft.task != history.tasks[history.tenants[exchanges[number].key]]:
            yield f"request {number} was served a draft of another tenant's task"
        if number in history.held_out:
            yield f"request {number} was held out, and served"


def the_ledger_is_the_sum_of_usages(history: History) -> Iterator[str]:
    """What is on disk is what the answers took: as reported where they say so."""
    total = sum(reading.cost.usd for _, reading in history.outcomes if reading.cost)
    if abs(total - history.ledger_usd) > CENT:
        yield f"the ledger says ${history.ledger_usd:.4f}, the requests took ${total:.4f}"
    calls = {call.number: call for call in history.calls}
    for outcome, reading in history.outcomes:
        number = number_of(outcome.request.text)
        # Of two calls for one request, the second counts: the first was refused.
        if outcome.decision == "local" or not outcome.is_complete or not calls[number].has_told_usage:
            continue
        usd = calls[number].completion_tokens * USD_PER_TOKEN
        if reading.cost is None or abs(reading.cost.usd - usd) > CENT:
            yield f"request {number} took ${usd:.4f} and is booked as {reading.cost}"
        elif reading.cost.usage.prompt_tokens != PROMPT_TOKENS:
            yield f"request {number} is booked with another prompt"


def no_exception_is_lost(history: History) -> Iterator[str]:
    """The event loop never has to report an exception or a task that was forgotten."""
    yield from history.faults


INVARIANTS: tuple[Invariant, ...] = (
    every_request_is_answered_once,
    every_request_leaves_one_outcome,
    no_stream_has_two_answers,
    no_broken_answer_looks_whole,
    only_whole_answers_are_harvested,
    no_audit_is_a_lesson,
    nothing_is_harvested_twice,
    budgets_are_overrun_only_by_what_answers_took,
    reservations_return_to_zero,
    rates_hold_over_any_window,
    concurrency_holds,
    closed_doors_stay_closed,
    a_drain_ends_in_time_and_says_so,
    a_client_that_left_frees_its_place,
    what_left_early_is_booked_as_received,
    nothing_is_held_at_the_end,
    an_alarm_stops_local_service,
    drafts_are_served_above_their_threshold_to_their_tenant,
    the_ledger_is_the_sum_of_usages,
    no_exception_is_lost,
)


def _chunks(exchange: Exchange) -> Iterator[dict[str, object]]:
    for event in exchange.events:
        if event != b"[DONE]" and not event.startswith(b'{"error"'):
            yield json.loads(event)


def _has_end(exchange: Exchange) -> bool:
    """Whether the answer that was received has the last word of its text, or is whole JSON."""
    if not exchange.is_streamed:
        try:
            json.loads(exchange.body)
        except ValueError:
            return False
        return True
    return exchange.has_finish


def _admitted(history: History, key: str) -> Iterator[float]:
    for each in history.exchanges:
        if each.key == key and each.admitted_at is not None:
            yield each.admitted_at
