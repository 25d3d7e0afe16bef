"""The blind sample of local answers."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from gateway.errors import ConfigError
from gateway.harvest.outbox import Outbox
from gateway.harvest.reader import HarvestReader
from gateway.processes.blind_sample import CHOICES, BlindSample
from gateway.store.home import Home
from gateway.store.state import open_state
from tests.processes.test_forgetting import row as harvested
from tests.store.test_decision_log import record

NOW = time.time()
TASK = "cards"


def fill(home: Home, count: int) -> None:
    """Keep `count` audits of which every second draft differs, one that would not serve, and a lesson."""
    outbox = Outbox(home.worker_rows(0))
    with open_state(home) as state:
        for number in range(count + 2):
            is_served, is_held_out = number != count, number != count + 1
            draft = "yes" if number % 2 else f"no {number}"
            row = msgspec.structs.replace(
                harvested(f"text {number}", "user"), request_id=f"{number:032x}", task=TASK,
                at=NOW - 60 + number, answer="yes", draft=draft, draft_version=1, is_held_out=is_held_out,
            )  # fmt: skip
            outbox.put(row)
            state.decisions.put(record(number, decision="audit", would_serve=is_served))
    outbox.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    fill(home, 20)
    return home


def test_only_audits_that_would_have_been_served_and_differ_are_shown(home: Home) -> None:
    with open_state(home) as state:
        sample = BlindSample(state, HarvestReader(home.harvest))
        items = sample.list_items(None, NOW, 100)
        [counts] = sample.count_all(NOW)

    assert [int(item.request_id, 16) for item in items] == [18, 16, 14, 12, 10, 8, 6, 4, 2, 0]
    assert all({item.a, item.b} == {"yes", f"no {int(item.request_id, 16)}"} for item in items)
    assert len({item.a == "yes" for item in items}) == 2, "the order says nothing"
    assert (counts.sampled, counts.agreed, counts.waiting) == (20, 10, 10)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_judgement_is_kept_as_whose_answer_it_was(home: Home, choice: str) -> None:
    with open_state(home) as state:
        sample = BlindSample(state, HarvestReader(home.harvest))
        item = sample.list_items(TASK, NOW, 1)[0]

        verdict = sample.judge(item.request_id, choice, "cli:ann", NOW)

        right = {"a": item.a, "b": item.b}.get(choice)
        assert verdict == (choice if right is None else "teacher" if right == "yes" else "local")
        assert item.request_id not in {one.request_id for one in sample.list_items(TASK, NOW, 100)}
        assert getattr(sample.count_all(NOW)[0], verdict) == 1
        assert state.trail.newest(1)[0].action == "sample judge"
        # Who is forgotten is forgotten: no text is kept with a judgement.
        assert item.text not in repr(state.preferences.all())


def test_what_is_not_in_the_sample_cannot_be_judged(home: Home) -> None:
    with open_state(home) as state, pytest.raises(ConfigError, match="not in the sample"):
        BlindSample(state, HarvestReader(home.harvest)).judge("f" * 32, "a", "cli:ann", NOW)


def test_a_part_that_is_judged_whole_tells_how_often_each_side_is_wrong(home: Home) -> None:
    """Agreements are judged, too: both sides may be wrong together, which no certificate sees."""
    with open_state(home) as state:
        sample = BlindSample(state, HarvestReader(home.harvest))
        assert sample.count_all(NOW)[0].whole is None
        items = sample.list_items(TASK, NOW, 100, is_whole=True)
        assert len(items) == 20
        for item in items:
            is_right = {"a": item.a == "yes", "b": item.b == "yes"}
            both = "neither" if int(item.request_id, 16) == 1 else "same"
            choice = both if item.a == item.b else "a" if is_right["a"] else "b"
            sample.judge(item.request_id, choice, "cli:ann", NOW)
        [counts] = sample.count_all(NOW)

    whole = counts.whole
    assert whole is not None
    assert counts.waiting == 0, "agreements that were judged, too, count as no others"
    assert (whole.size, whole.judged, whole.local_wrong, whole.teacher_wrong) == (20, 20, 11, 1)
    assert whole.teacher_interval == pytest.approx((0.00127, 0.2487), abs=1e-4)


def test_complaints_are_no_part_of_the_sample(home: Home) -> None:
    """What apps complain of is wrong more often than what a coin draws."""
    with open_state(home) as state:
        before = BlindSample(state, HarvestReader(home.harvest)).count_all(NOW)
    outbox = Outbox(home.worker_rows(1))
    complaint = msgspec.structs.replace(
        harvested("text 0", "user"), request_id=f"{0:032x}", task=TASK, at=NOW, answer="", draft="no",
        ending="none", is_lesson=False,
    )  # fmt: skip
    outbox.put(complaint)
    outbox.close()

    with open_state(home) as state:
        sample = BlindSample(state, HarvestReader(home.harvest))
        items = sample.list_items(None, NOW, 100, is_whole=True)

        assert sample.count_all(NOW) == before
        assert all(item.at != NOW for item in items)
