from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from gateway.confidence.gate import refusal_reason
from gateway.core import Certificate, Demands, Draft
from loadtests.certificate import __main__ as command
from loadtests.certificate.base import TARGET, Rate, Row, Setting
from loadtests.certificate.scenarios import SCENARIOS, alarm, drift, price
from loadtests.certificate.scenarios.slack import oracle_coverage
from loadtests.certificate.students import Answers, Student, read_student, write_student
from loadtests.certificate.traffic import FORM, Coin, attempt, live_certificate, scored_audit


def _answers(texts: int, error: float) -> Answers:
    """Return answers that err more the lower their score is, `error` on average."""
    chance = np.random.default_rng(0)
    scores = chance.random(texts)
    losses = (chance.random(texts) < 2 * error * (1 - scores)).astype(float)
    return Answers(scores=scores, losses=losses, similarities=chance.random(texts))


@pytest.fixture
def setting() -> Setting:
    """Two draws over a synthetic student."""
    student = Student(learnt=_answers(800, 0.0), fresh=_answers(2_000, 0.08))
    return Setting(students={"gold_headlines": student, "banking77": student}, draws=2)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "muted"])
def test_every_scenario_fills_its_rows(name: str, setting: Setting) -> None:
    rows = SCENARIOS[name](setting)

    assert rows
    assert all(row.scenario and row.bar and row.measured for row in rows)
    assert all(row.holds in (True, False, None) for row in rows)
    assert all((row.holds is None) == (row.bar == "-" or row.measured == "not built") for row in rows)
    assert msgspec.json.decode(msgspec.json.encode(rows), type=list[Row]) == rows


def test_a_second_caller_is_timed_against_the_first_alone(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm, "_MOST_MINUTES", 40)
    rows = alarm.run_muted_alarm(setting)
    assert all(0 < row.figures["alone"] <= 40 for row in rows)


def test_a_seed_gives_the_same_rows_again(setting: Setting) -> None:
    assert SCENARIOS["slack"](setting) == SCENARIOS["slack"](setting)


def test_what_a_recorded_student_serves_is_what_the_gate_lets_pass() -> None:
    """The scenarios judge arrays; the gate's one rule must say the same of each draft."""
    answers = _answers(200, 0.1)
    certificate = msgspec.structs.replace(live_certificate(), threshold=0.4, novelty_floor=0.3)
    columns = zip(answers.scores.tolist(), answers.similarities.tolist(), strict=True)
    drafts = [
        Draft(text="yes", score=score, task="t", version=1, evidence={"similarity": similarity})
        for score, similarity in columns
    ]

    by_gate = [not refusal_reason(draft, Demands(), FORM, certificate) for draft in drafts]

    assert answers.are_served(certificate).tolist() == by_gate


def test_nothing_is_served_without_a_threshold() -> None:
    bare = Certificate(stratum="new", target=TARGET)
    assert not _answers(50, 0.1).are_served(bare).any()


def test_one_text_in_a_burst_is_one_unit_of_evidence() -> None:
    """400 copies of one right answer certify nothing; 400 right answers do."""
    copies = [scored_audit(number, at=1.0, text=7, score=0.99, loss=0.0) for number in range(400)]
    texts = [scored_audit(number, at=1.0, text=number, score=0.99, loss=0.0) for number in range(400)]
    assert attempt(copies, "learnt", 2.0) is None
    assert attempt(texts, "learnt", 2.0) is not None


def test_the_coin_asks_the_sampler_at_the_share_of_each_stage() -> None:
    coin = Coin(np.random.default_rng(0))
    assert [coin.sample(1, 0.0, stage)[1] for stage in ("shadow", "settling", "settled")] == [0.3, 0.1, 0.02]


def test_an_interval_says_what_the_draws_allow() -> None:
    """With 30 of 200 the interval starts above 10 %, with 29 of 200 it does not."""
    assert not Rate(30, 200).may_be_at_most(0.10)
    assert Rate(29, 200).may_be_at_most(0.10)
    assert Rate(0, 5).interval[0] == 0.0
    assert Rate(0, 5).interval[1] == pytest.approx(0.522, abs=1e-3)
    assert Rate(5, 5).interval[1] == 1.0


def test_a_drift_is_counted_from_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every answer wrong after it, the alarm takes a few audits, not the 200 before the change."""
    assert drift._audits_to_alarm(1.0, np.random.default_rng(0)) < 20


def test_the_oracle_takes_the_largest_share_within_alpha() -> None:
    answers = Answers(
        scores=np.array([0.9, 0.8, 0.7, 0.6]),
        losses=np.array([0.0, 1.0, 0.0, 1.0]),
        similarities=np.ones(4),
    )
    assert oracle_coverage(answers, 0.34) == 0.75


def test_a_rare_task_needs_a_larger_share_audited(setting: Setting) -> None:
    """A tenth of the traffic needs ten times the share, up to what shadow audits."""
    shares = [row.figures["share_30_days"] for row in price.show_renewal_price(setting)[:2]]
    assert shares[0] == pytest.approx(10 * shares[1])


def test_a_recorded_student_is_read_as_it_was_written(tmp_path: Path) -> None:
    student = Student(learnt=_answers(3, 0.0), fresh=_answers(5, 0.5))
    write_student(student, tmp_path / "deep" / "student.npz")
    again = read_student(tmp_path / "deep" / "student.npz")
    assert again.fresh.scores.tolist() == student.fresh.scores.tolist()
    assert again.learnt.losses.tolist() == student.learnt.losses.tolist()


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (None, 0), (False, command.BAR_FAILED)])
def test_a_bar_that_fails_is_the_exit_code(
    holds: bool | None, code: int, setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row(scenario="s", bar="b", measured="m", holds=holds, figures={"share": 0.5})
    monkeypatch.setattr(command, "load_students", lambda *_, **__: setting.students)
    monkeypatch.setitem(SCENARIOS, "copies", lambda _: [row])
    found = tmp_path / "rows.json"

    arguments = ["--only", "copies", "--jobs", "1", "--draws", "2", "--json", str(found)]
    assert command.main(arguments) == code

    assert msgspec.json.decode(found.read_bytes(), type=dict[str, list[Row]]) == {"copies": [row]}


def test_the_table_fits_110_columns(setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    row = Row(scenario="long " * 20, bar="<= 10 % violated", measured="figures " * 20, holds=True)
    command.print_rows({"one": [row]}, setting, 1.0)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 110
