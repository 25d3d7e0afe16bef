"""Bugs, one per invariant at least, which the simulation must find: else an invariant says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import PropertyMock, patch

import msgspec

from gateway.api.http.exchange import Exchange, cancel_on_disconnect
from gateway.api.in_flight import Slot
from gateway.cascade.recorder import Recorder, _RecordedBody
from gateway.core import Certification, ending_of
from gateway.finops.budgets import Budgets
from gateway.finops.ledger import Ledger
from gateway.harvest.gather import Gatherer, row_of
from gateway.policy.planner import PolicyPlanner
from gateway.processes.drain import Drain
from gateway.store.certifications import CertificationStore
from gateway.store.rate_limit import ConcurrencyGauge, RateLimit
from tests.simulation import invariants
from tests.simulation.invariants import Invariant

Mutation = Callable[[], AbstractContextManager[Any]]

_ANOTHER_ANSWER = b'data: {"id":"another","choices":[{"delta":{"content":"teacher "}}]}\n\ndata: [DONE]\n\n'


def the_end_is_sent_twice() -> AbstractContextManager[Any]:
    finish = Exchange._finish

    async def mutated(self: Exchange) -> None:
        await finish(self)
        await finish(self)

    return patch.object(Exchange, "_finish", mutated)


def closing_emits_another_outcome() -> AbstractContextManager[Any]:
    finish = Recorder.finish

    def mutated(self: Recorder, *, is_complete: bool) -> None:
        self._is_finished = False
        finish(self, is_complete=is_complete)

    return patch.object(Recorder, "finish", mutated)


def a_hedge_that_is_left_leaves_nothing() -> AbstractContextManager[Any]:
    return patch("gateway.cascade.serve.note_no_answer", lambda *_: None)


def a_broken_stream_goes_on_with_another_answer() -> AbstractContextManager[Any]:
    return patch.object(_RecordedBody, "_break_off", _break_off_with_another)


def a_broken_stream_just_ends() -> AbstractContextManager[Any]:
    return patch.object(Recorder, "error_event", lambda *_: b"data: [DONE]\n\n")


def every_answer_is_harvested() -> AbstractContextManager[Any]:
    def mutated(outcome: Any, reading: Any) -> str:
        return "whole" if outcome.status == 200 and reading.text else ending_of(outcome, reading)

    return patch("gateway.harvest.gather.ending_of", mutated)


def audits_are_lessons() -> AbstractContextManager[Any]:
    def mutated(outcome: Any, reading: Any, **facts: Any) -> Any:
        row = row_of(outcome, reading, **facts)
        return row and msgspec.structs.replace(row, is_held_out=False)

    return patch("gateway.harvest.gather.row_of", mutated)


def rows_are_gathered_twice() -> AbstractContextManager[Any]:
    gather = Gatherer.__call__

    def mutated(self: Gatherer, outcome: Any, reading: Any) -> None:
        gather(self, outcome, reading)
        gather(self, outcome, reading)

    return patch.object(Gatherer, "__call__", mutated)


def budgets_are_not_compared() -> AbstractContextManager[Any]:
    def mutated(self: Budgets, budget: Any, usd: float, *, is_known: bool) -> bool:
        return self._spend[budget.period].reserve(budget.name, usd, float("inf"))

    return patch.object(Budgets, "_take", mutated)


def what_costs_nothing_is_not_settled() -> AbstractContextManager[Any]:
    settle = Budgets.settle

    def mutated(self: Budgets, reservation: Any, usd: float) -> None:
        if usd:
            settle(self, reservation, usd)

    return patch.object(Budgets, "settle", mutated)


def rates_are_not_counted() -> AbstractContextManager[Any]:
    return patch.object(RateLimit, "take", lambda *_: 0.0)


def each_worker_counts_concurrency_alone() -> AbstractContextManager[Any]:
    def own(self: ConcurrencyGauge) -> int:
        return int(self._cell.own)

    return patch.object(ConcurrencyGauge, "entered", property(own))


def doors_stay_open() -> AbstractContextManager[Any]:
    async def mutated(self: Drain, server: Any) -> None:
        await asyncio.sleep(self._delay_s + self.limit_s)

    return patch.object(Drain, "end_server", mutated)


def a_drain_just_cancels() -> AbstractContextManager[Any]:
    return patch("gateway.processes.drain.cancel_to_stop", lambda task: task.cancel())


def slow_readers_are_cut_without_a_word() -> AbstractContextManager[Any]:
    """As it was before the simulation found it."""

    async def mutated(exchange: Exchange) -> None:
        if not exchange.has_begun:
            await exchange.send_json(503, b"{}")

    return patch("gateway.api.app._end_to_stop", mutated)


def no_client_is_watched() -> AbstractContextManager[Any]:
    return patch.object(cancel_on_disconnect, "_start_watcher", lambda _: None)


def every_answer_is_complete() -> AbstractContextManager[Any]:
    finish = Recorder.finish
    return patch.object(Recorder, "finish", lambda self, *, is_complete: finish(self, is_complete=True))


def places_are_kept() -> AbstractContextManager[Any]:
    return patch.object(Slot, "close", lambda _: None)


def certifications_are_remembered() -> AbstractContextManager[Any]:
    known: dict[tuple[int, str], Certification] = {}
    find = CertificationStore.of

    def mutated(self: CertificationStore, task: str) -> Certification:
        return known.setdefault((id(self), task), find(self, task))

    return patch.object(CertificationStore, "of", mutated)


def any_draft_is_sure() -> AbstractContextManager[Any]:
    return patch("gateway.confidence.gate.refusal_reason", lambda *_: "")


def tenants_are_mixed_up() -> AbstractContextManager[Any]:
    return patch.object(PolicyPlanner, "_scope_of", lambda *_: "tenant:acme")


def audits_are_not_in_the_ledger() -> AbstractContextManager[Any]:
    enter = Ledger._enter

    def mutated(self: Ledger, row: Any) -> None:
        if row.decision != "audit":
            enter(self, row)

    return patch.object(Ledger, "_enter", mutated)


def late_drafts_raise() -> AbstractContextManager[Any]:
    return patch.object(Recorder, "_would_serve", PropertyMock(side_effect=RuntimeError))


MUTATIONS: tuple[tuple[Mutation, Invariant], ...] = (
    (the_end_is_sent_twice, invariants.every_request_is_answered_once),
    (closing_emits_another_outcome, invariants.every_request_leaves_one_outcome),
    (a_hedge_that_is_left_leaves_nothing, invariants.every_request_leaves_one_outcome),
    (a_broken_stream_goes_on_with_another_answer, invariants.no_stream_has_two_answers),
    (a_broken_stream_just_ends, invariants.no_broken_answer_looks_whole),
    (every_answer_is_harvested, invariants.only_whole_answers_are_harvested),
    (audits_are_lessons, invariants.no_audit_is_a_lesson),
    (rows_are_gathered_twice, invariants.nothing_is_harvested_twice),
    (budgets_are_not_compared, invariants.budgets_are_overrun_only_by_what_answers_took),
    (what_costs_nothing_is_not_settled, invariants.reservations_return_to_zero),
    (rates_are_not_counted, invariants.rates_hold_over_any_window),
    (each_worker_counts_concurrency_alone, invariants.concurrency_holds),
    (doors_stay_open, invariants.closed_doors_stay_closed),
    (a_drain_just_cancels, invariants.a_drain_ends_in_time_and_says_so),
    (slow_readers_are_cut_without_a_word, invariants.a_drain_ends_in_time_and_says_so),
    (no_client_is_watched, invariants.a_client_that_left_frees_its_place),
    (every_answer_is_complete, invariants.what_left_early_is_booked_as_received),
    (places_are_kept, invariants.nothing_is_held_at_the_end),
    (certifications_are_remembered, invariants.an_alarm_stops_local_service),
    (any_draft_is_sure, invariants.drafts_are_served_above_their_threshold_to_their_tenant),
    (tenants_are_mixed_up, invariants.drafts_are_served_above_their_threshold_to_their_tenant),
    (audits_are_not_in_the_ledger, invariants.the_ledger_is_the_sum_of_usages),
    (late_drafts_raise, invariants.no_exception_is_lost),
)


def _break_off_with_another(self: _RecordedBody) -> bytes:
    self._is_over = True
    self._recorder.finish(is_complete=False)
    return _ANOTHER_ANSWER
