"""What each guard of the evidence costs in coverage, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from gateway.confidence.judging import ScoredAudit, select_evidence, try_certificate
from gateway.core import Certificate, Stratum
from loadtests.certificate.base import TARGET, Row, Setting
from loadtests.certificate.scenarios.slack import draw_units
from loadtests.certificate.students import Answers
from loadtests.certificate.traffic import FORM, MOST

UNITS = 1_400
ATTEMPT = 6

FORMS = {FORM: 0.97, "single/medium": 0.02, "multi/short": 0.005, "multi/medium": 0.003, "multi/long": 0.002}
CALLERS = {"large": 0.80, "middle": 0.15, "small": 0.05}
SHADOW_ROWS = 1_000
"""Held out at 30 %; the rest at 2 %."""
REPEATED = 0.3
"""Share of the held-out requests that repeat the text of another one, at another time."""

_Spoil = Callable[[list[ScoredAudit], np.random.Generator], list[ScoredAudit]]


class _Guard(msgspec.Struct, frozen=True, kw_only=True):
    """One guard: evidence on which it acts, and the stratum whose tests do without it, if one does."""

    scenario: str
    spoil: _Spoil
    stratum_without: Stratum = "new"


def show_guards_price(setting: Setting) -> list[Row]:
    """Certify headlines on 1,400 held-out requests, with and without each guard."""
    answers = setting.students["gold_headlines"].fresh
    return [_row(guard, answers, setting) for guard in _GUARDS]


def _as_drawn(audits: list[ScoredAudit], chance: np.random.Generator) -> list[ScoredAudit]:
    del chance
    return audits


def _in_rare_forms(audits: list[ScoredAudit], chance: np.random.Generator) -> list[ScoredAudit]:
    forms = chance.choice(list(FORMS), len(audits), p=list(FORMS.values())).tolist()
    return [_changed(audit, form=form) for audit, form in zip(audits, forms, strict=True)]


def _of_callers(audits: list[ScoredAudit], chance: np.random.Generator) -> list[ScoredAudit]:
    callers = chance.choice(list(CALLERS), len(audits), p=list(CALLERS.values())).tolist()
    return [_changed(audit, caller=caller) for audit, caller in zip(audits, callers, strict=True)]


def _less_audited_later(audits: list[ScoredAudit], chance: np.random.Generator) -> list[ScoredAudit]:
    del chance
    later = [_changed(audit, propensity=0.02) for audit in audits[SHADOW_ROWS:]]
    return audits[:SHADOW_ROWS] + later


def _with_repeats(audits: list[ScoredAudit], chance: np.random.Generator) -> list[ScoredAudit]:
    spoilt: list[ScoredAudit] = []
    for audit in audits:
        is_repeat = bool(spoilt) and chance.random() < REPEATED
        known = spoilt[int(chance.integers(len(spoilt)))] if is_repeat else audit
        spoilt.append(_changed(known, request_id=audit.request_id, at=audit.at))
    return spoilt


_GUARDS = (
    _Guard(scenario="price of the novelty floor", spoil=_as_drawn, stratum_without="learnt"),
    _Guard(scenario="price of covered forms, 3 % of traffic in 4 rare ones", spoil=_in_rare_forms),
    _Guard(scenario="price of one unit per text, 30 % repeats", spoil=_with_repeats),
    _Guard(scenario="price of thinning, 1,000 rows at 30 %, 400 at 2 %", spoil=_less_audited_later),
    _Guard(scenario="price of the caller cap, callers of 80/15/5 %", spoil=_of_callers),
)


def _row(guard: _Guard, answers: Answers, setting: Setting) -> Row:
    found = [_draw(guard, answers, chance) for chance in setting.generators("guards")]
    with_guard, without, units = (float(mean) for mean in np.mean(found, axis=0))
    return Row(
        scenario=guard.scenario,
        bar="-",
        measured=f"{100 * (without - with_guard):.1f} points: coverage {with_guard:.3f}, "
        f"without {without:.3f}; {units:,.0f} of {UNITS:,} units",
        figures={"with": with_guard, "without": without, "units": units},
    )


def _draw(guard: _Guard, answers: Answers, chance: np.random.Generator) -> tuple[float, float, int]:
    """Return the coverage with and without the guard, and the units that it leaves."""
    audits = guard.spoil(draw_units(answers, UNITS, chance), chance)
    # The same evidence as if each request were one of its own, from one caller, alike in form and propensity.
    plain = [
        _changed(audit, text_hash=number, form=FORM, caller="app", propensity=0.3)
        for number, audit in enumerate(audits)
    ]
    covered, units = _certify(audits, "new", answers)
    uncovered, _ = _certify(plain, guard.stratum_without, answers)
    return covered, uncovered, units


def _certify(audits: Sequence[ScoredAudit], stratum: Stratum, answers: Answers) -> tuple[float, int]:
    """Return the coverage of traffic with the forms of `audits`, and the units among them."""
    asked = Certificate(stratum=stratum, target=TARGET, attempts=ATTEMPT - 1)
    now = audits[-1].at
    evidence = select_evidence(audits, asked, now, MOST)
    issued = try_certificate(evidence, asked, now)
    if issued is None:
        return 0.0, len(evidence.scores)
    in_form = sum(audit.form in issued.forms for audit in audits) / len(audits)
    return in_form * float(answers.are_served(issued).mean()), len(evidence.scores)


def _changed(audit: ScoredAudit, **fields: object) -> ScoredAudit:
    return msgspec.structs.replace(audit, **fields)
