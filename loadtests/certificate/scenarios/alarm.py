"""The alarm against a caller who wants it silent, and against a teacher who begins to refuse."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from gateway.confidence.auditor import Auditor
from gateway.confidence.units import MINUTE_S
from gateway.core import Draft, Outcome, Reading
from loadtests.certificate.audit_log import TASK, WatchedTask
from loadtests.certificate.base import ALPHA, Row, Setting
from loadtests.certificate.traffic import PLAN, ROUTE, Coin, text_request

HONEST_PER_MINUTE, ATTACKS_PER_MINUTE = 100, 180
RISK_BEFORE, RISK_AFTER = 0.6 * ALPHA, 0.15
MOST_DELAY = 2.0

REFUSED_SHARE = 0.3
MOST_REFUSED_UNITS = 25

_WARM_UP_MINUTES = 30
_MOST_MINUTES = 60
_TEXT_OF_ATTACKER = -1
_WARM_UP_UNITS, _MOST_UNITS = 200, 2_000


class _Stranger(msgspec.Struct, frozen=True, kw_only=True):
    """A second caller. `is_persistent`: it repeats its text all the time, not just once at the start."""

    scenario: str
    bar: str
    is_vouched_for: bool
    is_persistent: bool = True


_STRANGERS = (
    _Stranger(
        scenario="a caller without vouching repeats an audited text 180/min",
        bar="alarm <= 2x later",
        is_vouched_for=False,
    ),
    _Stranger(scenario="the same, vouched for", bar="alarm <= 2x later", is_vouched_for=True),
    _Stranger(
        scenario="a second caller asks one audited text, once",
        bar="alarm <= 2x later",
        is_vouched_for=True,
        is_persistent=False,
    ),
)


def run_muted_alarm(setting: Setting) -> list[Row]:
    """Time the alarm with and without a second caller that dilutes the audits.

    The second caller knows the best that it could know: its text is audited in every minute, and the
    draft is right. 100 honest requests per minute, wrong in 15 % after 30 good minutes; 10 % are audited.
    """
    alone = [_minutes_to_alarm(None, chance) for chance in setting.generators("muted")]
    usual = float(np.median(alone))
    rows = []
    for stranger in _STRANGERS:
        beside = [_minutes_to_alarm(stranger, chance) for chance in setting.generators("muted")]
        median = float(np.median(beside))
        silent = sum(minutes >= _MOST_MINUTES for minutes in beside)
        rows.append(
            Row(
                scenario=stranger.scenario,
                bar=stranger.bar,
                measured=f"median {median:.0f} min, alone {usual:.0f} min: {median / usual:.1f}x; "
                f"none in {_MOST_MINUTES} min: {silent} of {len(beside)}",
                holds=median <= MOST_DELAY * usual,
                figures={"median": median, "alone": usual, "silent": silent},
            )
        )
    return rows


def run_refusing_teacher(setting: Setting) -> list[Row]:
    """Let the teacher begin to refuse 30 % of what the specialist answers; the auditor reads its answers."""
    units = [_units_to_alarm(chance) for chance in setting.generators("refusals")]
    median, late = float(np.median(units)), float(np.quantile(units, 0.9))
    row = Row(
        scenario="the teacher begins to refuse 30 %",
        bar=f"<= {MOST_REFUSED_UNITS} accepted units",
        measured=f"median {median:.0f}, 90 % within {late:.0f}",
        holds=median <= MOST_REFUSED_UNITS,
        figures={"median": median, "p90": late},
    )
    return [row]


def _minutes_to_alarm(stranger: _Stranger | None, chance: np.random.Generator) -> float:
    task, coin = WatchedTask(), Coin(chance)
    for minute in range(_WARM_UP_MINUTES + _MOST_MINUTES):
        at = minute * MINUTE_S
        risk = RISK_BEFORE if minute < _WARM_UP_MINUTES else RISK_AFTER
        _put_honest(task, coin, minute, risk, chance)
        for second in _attacks(stranger, minute):
            text, is_vouched_for = _TEXT_OF_ATTACKER, bool(stranger and stranger.is_vouched_for)
            task.log.put(task.audit(text, at + second, 0.0, caller="stranger", is_vouched_for=is_vouched_for))
        if task.is_alarmed():
            if minute >= _WARM_UP_MINUTES:
                return minute - _WARM_UP_MINUTES + 1.0
            task = WatchedTask()
    return float(_MOST_MINUTES)


def _put_honest(task: WatchedTask, coin: Coin, minute: int, risk: float, chance: np.random.Generator) -> None:
    at = minute * MINUTE_S
    for number in range(HONEST_PER_MINUTE):
        text = minute * HONEST_PER_MINUTE + number
        if coin.sample(text, at, "settling")[0]:
            loss = float(chance.random() < risk)
            task.log.put(task.audit(text, at + number * MINUTE_S / HONEST_PER_MINUTE, loss))


def _attacks(stranger: _Stranger | None, minute: int) -> Iterator[float]:
    """Yield the seconds of the minute at which the second caller asks."""
    if stranger is None or (minute > 0 and not stranger.is_persistent):
        return
    times = ATTACKS_PER_MINUTE if stranger.is_persistent else 1
    yield from (number * MINUTE_S / times for number in range(times))


def _units_to_alarm(chance: np.random.Generator) -> int:
    task = WatchedTask()
    auditor = Auditor(task.log)
    for number in range(_WARM_UP_UNITS + _MOST_UNITS):
        is_later = number >= _WARM_UP_UNITS
        is_refused = is_later and chance.random() < REFUSED_SHARE
        is_right = chance.random() >= RISK_BEFORE
        auditor(_outcome(task, number), _answer(is_refused=is_refused, is_right=is_right))
        if task.is_alarmed():
            if is_later:
                return number - _WARM_UP_UNITS + 1
            task = WatchedTask()
            auditor = Auditor(task.log)
    return _MOST_UNITS


def _outcome(task: WatchedTask, number: int) -> Outcome:
    draft = Draft(text="yes", score=0.9, task=TASK, version=task.certification.version or 0)
    return Outcome(
        request=msgspec.structs.replace(text_request(number), id=str(number)),
        plan=PLAN,
        route=ROUTE,
        decision="audit",
        reason="audit",
        status=200,
        at=number * 5 * MINUTE_S,
        latency_ms=1.0,
        first_byte_ms=1.0,
        draft=draft,
        would_serve=True,
        audit_propensity=0.1,
        is_held_out=True,
        certification=task.certification,
    )


def _answer(*, is_refused: bool, is_right: bool) -> Reading:
    if is_refused:
        return Reading(text=None, finish_reason="stop", is_complete=True)
    return Reading(text="yes" if is_right else "no", finish_reason="stop", is_complete=True)
