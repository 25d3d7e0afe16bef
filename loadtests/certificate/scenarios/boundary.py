"""Students that err just too often at every threshold: each certificate that they get is false."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
import numpy as np
from numpy.random import Generator

from gateway.confidence.e_detector import EDetector
from gateway.confidence.judging import Evidence, try_certificate
from gateway.confidence.spending import has_lapsed
from gateway.confidence.units import MINUTE_S, UnitFilter
from gateway.core import Certificate, Stratum
from loadtests.certificate.base import ALPHA, DAY_S, DELTA, TARGET, Rate, Row, Setting, percent
from loadtests.certificate.traffic import (
    FORM,
    RISK_TOO_HIGH,
    Coin,
    attempt,
    flat_losses,
    flat_scores,
    scored_audit,
)

BURSTS = (3, 10, 50)
TEXTS = 1_300
"""About 400 of them are held out in shadow."""
ALARM_BURSTS = (2, 5)
UNITS = 2_000
"""Per draw, of which false alarms are counted."""
ATTEMPTS = 16
RENEWALS = 6

_RENEWED_AT = 1.5
_SAME_ANSWERS = 0.7
_FIRST_EVIDENCE, _GROWTH, _MOST_EVIDENCE = 400, 1.25, 4_000
_APART_S = 300.0


def run_bursts(setting: Setting) -> list[Row]:
    """Ask each text many times within a minute."""
    rows = [_certify_bursts(setting, copies) for copies in BURSTS]
    return rows + [_count_false_alarms(setting, copies) for copies in ALARM_BURSTS]


def run_attempts(setting: Setting) -> list[Row]:
    """Test 16 versions in a row; ask after each whether a certificate is in force.

    Each on more evidence, and all on what the first one was tested on, which most of them answer alike.
    """
    evidence = {
        f"{ATTEMPTS} attempts at the boundary": _grown_evidence,
        f"{ATTEMPTS} versions on one window, at the boundary": _held_evidence,
    }
    return [_ask_after_each(setting, scenario, draw) for scenario, draw in evidence.items()]


def _ask_after_each(setting: Setting, scenario: str, draw: Callable[[Generator], Iterator[Evidence]]) -> Row:
    in_force = [_attempts_in_force(draw(chance)) for chance in setting.generators("attempts")]
    rates = [Rate.of(after) for after in zip(*in_force, strict=True)]
    worst = max(rates, key=lambda rate: rate.count)
    ever = Rate.of(any(found) for found in in_force)
    return Row(
        scenario=scenario,
        bar=f"<= {percent(DELTA)} false in force, at each",
        measured=f"worst, after attempt {rates.index(worst) + 1}: {worst}; false at any time {ever}",
        holds=all(rate.may_be_at_most(DELTA) for rate in rates),
        figures={"worst": worst.share, "ever": ever.share},
    )


def run_renewals(setting: Setting) -> list[Row]:
    """Test one version again and again while its window grows; a failed test ends what is in force."""
    in_force = [_renewals_in_force(chance) for chance in setting.generators("renewals")]
    rates = [Rate.of(after) for after in zip(*in_force, strict=True)]
    worst = max(rates, key=lambda rate: rate.count)
    row = Row(
        scenario=f"{RENEWALS} tests of one version on a growing window, at the boundary",
        bar=f"<= {percent(DELTA)} false in force, after each",
        measured=f"worst, after test {rates.index(worst) + 1}: {worst}",
        holds=all(rate.may_be_at_most(DELTA) for rate in rates),
        figures={"worst": worst.share},
    )
    return [row]


def _certify_bursts(setting: Setting, copies: int) -> Row:
    """Return how often bursts earn a false certificate, as new and as learnt texts."""
    rates = []
    strata: tuple[Stratum, ...] = ("new", "learnt")
    for stratum in strata:
        chances = setting.generators(f"bursts {copies} {stratum}")
        rates.append(Rate.of(_is_fooled_by(copies, stratum, chance) for chance in chances))
    new, learnt = rates
    return Row(
        scenario=f"bursts of {copies} at the boundary",
        bar=f"<= {percent(DELTA)} violated",
        measured=f"new {new}, learnt {learnt}",
        holds=all(rate.may_be_at_most(DELTA) for rate in rates),
        figures={"new": new.share, "learnt": learnt.share},
    )


def _is_fooled_by(copies: int, stratum: Stratum, chance: Generator) -> bool:
    coin = Coin(chance)
    # Copies of a text in a minute fall alike, so the sampler is asked once for all of them.
    held_out = [text for text in range(TEXTS) if coin.sample(text, text * MINUTE_S)[0]]
    scores = flat_scores(chance, len(held_out)).tolist()
    losses = flat_losses(chance, len(held_out), RISK_TOO_HIGH).tolist()
    audits = [
        scored_audit(text * copies + copy, at=text * MINUTE_S + copy, text=text, score=score, loss=loss)
        for text, score, loss in zip(held_out, scores, losses, strict=True)
        for copy in range(copies)
    ]
    return attempt(audits, stratum, TEXTS * MINUTE_S) is not None


def _count_false_alarms(setting: Setting, copies: int) -> Row:
    alarms = sum(_false_alarms(copies, chance) for chance in setting.generators(f"alarms {copies}"))
    per_10_000 = alarms * 10_000 / (setting.draws * UNITS)
    return Row(
        scenario=f"false alarms at alpha/2, bursts of {copies}",
        bar="<= 1 per 10,000 units",
        measured=f"{per_10_000:.2f} ({alarms} in {setting.draws * UNITS:,} units)",
        holds=per_10_000 <= 1.0,
        figures={"per_10_000": per_10_000},
    )


def _false_alarms(copies: int, chance: Generator) -> int:
    units, detector, alarms = UnitFilter(), EDetector(ALPHA), 0
    for text, loss in enumerate(flat_losses(chance, UNITS, ALPHA / 2).tolist()):
        for copy in range(copies):
            at = text * _APART_S + copy
            audit = scored_audit(text * copies + copy, at=at, text=text, score=1.0, loss=loss)
            if units.admit(audit) and detector.update(loss, at):
                alarms += 1
                detector = EDetector(ALPHA)
    return alarms


def _attempts_in_force(evidence: Iterable[Evidence]) -> list[bool]:
    """Return for each attempt whether a certificate is in force after it."""
    certificate = Certificate(stratum="new", target=TARGET)
    found = []
    for tested in evidence:
        issued = try_certificate(tested, certificate, DAY_S)
        attempts = certificate.attempts + 1
        certificate = issued or msgspec.structs.replace(certificate, attempts=attempts)
        if certificate.stage == "live" and has_lapsed(certificate.issued_at_attempt, attempts):
            certificate = msgspec.structs.replace(certificate, stage="shadow", threshold=None)
        found.append(certificate.is_in_force(DAY_S))
    return found


def _grown_evidence(chance: Generator) -> Iterator[Evidence]:
    """Yield what each version is tested on; each is another student."""
    for number in range(ATTEMPTS):
        yield _boundary_evidence(chance, min(_MOST_EVIDENCE, int(_FIRST_EVIDENCE * _GROWTH**number)))


def _held_evidence(chance: Generator) -> Iterator[Evidence]:
    """Yield the same texts as each version answers them: most as the version before."""
    tested = _boundary_evidence(chance, _FIRST_EVIDENCE)
    for _ in range(ATTEMPTS):
        yield tested
        other = _boundary_evidence(chance, _FIRST_EVIDENCE)
        is_same = chance.random(_FIRST_EVIDENCE) < _SAME_ANSWERS
        tested = msgspec.structs.replace(
            tested,
            scores=np.where(is_same, tested.scores, other.scores).tolist(),
            losses=np.where(is_same, tested.losses, other.losses).tolist(),
        )


def _renewals_in_force(chance: Generator) -> list[bool]:
    """Return for each test whether a certificate is in force after it; each sees what the last one saw."""
    certificate = Certificate(stratum="new", target=TARGET)
    everything = _boundary_evidence(chance, _MOST_EVIDENCE)
    found = []
    for number in range(RENEWALS):
        units = min(_MOST_EVIDENCE, int(_FIRST_EVIDENCE * _RENEWED_AT**number))
        evidence = msgspec.structs.replace(
            everything, scores=everything.scores[:units], losses=everything.losses[:units]
        )
        issued = try_certificate(evidence, certificate, DAY_S)
        attempts = certificate.attempts + 1
        certificate = issued or Certificate(stratum="new", target=TARGET, attempts=attempts)
        found.append(certificate.is_in_force(DAY_S))
    return found


def _boundary_evidence(chance: Generator, units: int) -> Evidence:
    return Evidence(
        audits=[],
        scores=flat_scores(chance, units).tolist(),
        losses=flat_losses(chance, units, RISK_TOO_HIGH).tolist(),
        forms=(FORM,),
        novelty_floor=-1.0,
        starts_at=0.0,
        ends_at=DAY_S,
        propensity=0.3,
    )
