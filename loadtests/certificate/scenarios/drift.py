"""Traffic that moves: a hard kind that grows, and a specialist that gets worse over several versions."""

from __future__ import annotations

import msgspec
import numpy as np

from gateway.confidence.judging import ScoredAudit, select_evidence, try_certificate
from gateway.core import Certificate
from loadtests.certificate.audit_log import WatchedTask
from loadtests.certificate.base import ALPHA, DAY_S, DELTA, TARGET, Rate, Row, Setting, percent
from loadtests.certificate.students import FloatArray
from loadtests.certificate.traffic import (
    MOST,
    Coin,
    Stage,
    flat_losses,
    flat_scores,
    scored_audit,
)

PHASES: tuple[tuple[int, Stage], ...] = ((4_000, "shadow"), (8_000, "settling"), (12_000, "settled"))
"""Requests, and the stage that decides how many of them are audited: 30, 10 and 2 %."""
DAYS = 24.0
EASY_RISK, HARD_RISK = 0.015, 0.095
HARD_AT_FIRST, HARD_AT_LAST = 0.1, 0.6
RECENT = 8_000

VERSION_EVERY = 80
BEFORE = 0.6 * ALPHA
DRIFTS = ((0.10, 150), (0.15, 60))
"""The risk after the change, and the most audits that the alarm may take."""
UNITS = 2_500
"""Per draw, of which false alarms are counted."""

_WARM_UP = 200
_MOST_UNITS = 5_000
_APART_S = 300.0


def run_moving_mix(setting: Setting) -> list[Row]:
    """Let a hard kind grow from 10 to 60 % of the traffic; test after each phase, as versions come."""
    draws = [_draw_mix(chance) for chance in setting.generators("mix")]
    window = Rate.of(draw.is_issued and draw.is_broken_on_window for draw in draws)
    third = Rate.of(draw.is_issued and draw.is_broken_on_recent for draw in draws)
    recent = Rate.of(draw.is_broken_on_recent for draw in draws)
    issued = sum(draw.is_issued for draw in draws)
    in_force = sum(draw.is_in_force for draw in draws)
    return [
        Row(
            scenario="hard kind 10 -> 60 % of traffic, third attempt, on its window",
            bar=f"<= {percent(DELTA)} violated",
            measured=f"{window}, issued in {issued}",
            holds=window.may_be_at_most(DELTA),
            figures={"violated": window.share, "issued": issued},
        ),
        Row(
            scenario=f"the same, what is in force on the last {RECENT:,} requests",
            bar=f"<= {percent(DELTA)} broken, or lapsed",
            measured=f"{recent}, lapsed in {len(draws) - in_force}; from the third attempt: {third}",
            holds=recent.may_be_at_most(DELTA),
            figures={"broken": recent.share, "in_force": in_force, "third_broken": third.share},
        ),
    ]


def run_new_versions(setting: Setting) -> list[Row]:
    """Let the risk rise while a new version comes every 80 accepted audits."""
    rows = []
    for risk, most in DRIFTS:
        chances = setting.generators(f"versions {risk}")
        audits = [_audits_to_alarm(risk, chance) for chance in chances]
        median, late = float(np.median(audits)), float(np.quantile(audits, 0.9))
        rows.append(
            Row(
                scenario=f"3 % -> {percent(risk)} drift, a new version every {VERSION_EVERY} audits",
                bar=f"<= {most} audits to the alarm",
                measured=f"median {median:.0f}, 90 % within {late:.0f}",
                holds=median <= most,
                figures={"median": median, "p90": late},
            )
        )
    alarms = sum(_false_alarms(chance) for chance in setting.generators("versions without drift"))
    per_10_000 = alarms * 10_000 / (setting.draws * UNITS)
    beside = Row(
        scenario="false alarms at 0.6 alpha, the same versions",
        bar="-",
        measured=f"{per_10_000:.2f} per 10,000 audits",
        figures={"per_10_000": per_10_000},
    )
    return [*rows, beside]


class _MixDraw(msgspec.Struct, frozen=True, kw_only=True):
    is_issued: bool
    is_in_force: bool
    is_broken_on_window: bool
    is_broken_on_recent: bool


def _draw_mix(chance: np.random.Generator) -> _MixDraw:
    total = sum(requests for requests, _ in PHASES)
    times: FloatArray = np.linspace(0.0, DAYS * DAY_S, total)
    hard = HARD_AT_FIRST + (HARD_AT_LAST - HARD_AT_FIRST) * np.arange(total) / total
    risks = EASY_RISK + (HARD_RISK - EASY_RISK) * (chance.random(total) < hard)
    scores, losses = flat_scores(chance, total), (chance.random(total) < risks).astype(float)
    audits = _audits_of_phases(Coin(chance), times, scores, losses)
    certificate, issued = _attempt_after_each_phase(audits, times)
    is_in_force = certificate.is_in_force(float(times[-1]))
    # The risk of a request is that of its kind: what the certificate speaks of, without chance.
    is_in_window = (times >= certificate.evidence_from) & (times <= certificate.evidence_to)
    is_served = scores >= (certificate.threshold or np.inf)
    return _MixDraw(
        is_issued=issued,
        is_in_force=is_in_force,
        is_broken_on_window=is_in_force and bool(risks[is_in_window & is_served].mean() > ALPHA),
        is_broken_on_recent=is_in_force and bool(risks[-RECENT:][is_served[-RECENT:]].mean() > ALPHA),
    )


def _audits_of_phases(
    coin: Coin, times: FloatArray, scores: FloatArray, losses: FloatArray
) -> list[ScoredAudit]:
    stages = [stage for requests, stage in PHASES for _ in range(requests)]
    audits = []
    for text, (at, stage) in enumerate(zip(times.tolist(), stages, strict=True)):
        is_held_out, propensity = coin.sample(text, at, stage)
        if is_held_out:
            audit = scored_audit(
                text,
                at=at,
                text=text,
                score=float(scores[text]),
                loss=float(losses[text]),
                propensity=propensity,
            )
            audits.append(audit)
    return audits


def _attempt_after_each_phase(audits: list[ScoredAudit], times: FloatArray) -> tuple[Certificate, bool]:
    """Return the certificate after the last attempt, and whether that attempt issued it."""
    certificate, end, is_issued = Certificate(stratum="new", target=TARGET), 0, False
    for requests, _ in PHASES:
        end += requests
        now = float(times[end - 1])
        seen = [audit for audit in audits if audit.at <= now]
        passed = try_certificate(select_evidence(seen, certificate, now, MOST), certificate, now)
        is_issued = passed is not None
        attempts = certificate.attempts + 1
        certificate = passed or msgspec.structs.replace(certificate, attempts=attempts)
        if not is_issued:  # the version is the same one, so a failed renewal ends its certificate
            certificate = msgspec.structs.replace(certificate, stage="shadow", threshold=None)
    return certificate, is_issued


def _audits_to_alarm(risk: float, chance: np.random.Generator) -> int:
    """Return the accepted audits from the change of the risk to the alarm."""
    before = flat_losses(chance, _WARM_UP, BEFORE)
    after = flat_losses(chance, _MOST_UNITS, risk)
    task = WatchedTask()
    for number, loss in enumerate(np.concatenate([before, after]).tolist()):
        if _watch(task, number, loss):
            if number >= _WARM_UP:
                return number - _WARM_UP + 1
            task = WatchedTask()  # a false alarm before the change: the detector begins anew
    return _MOST_UNITS


def _false_alarms(chance: np.random.Generator) -> int:
    task, alarms = WatchedTask(), 0
    for number, loss in enumerate(flat_losses(chance, UNITS, BEFORE).tolist()):
        if _watch(task, number, loss):
            alarms += 1
            task = WatchedTask()
    return alarms


def _watch(task: WatchedTask, number: int, loss: float) -> bool:
    if number % VERSION_EVERY == 0:
        task.publish_version()
    task.log.put(task.audit(number, number * _APART_S, loss))
    return task.is_alarmed()
