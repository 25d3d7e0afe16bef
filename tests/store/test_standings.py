"""Standings: the same for every process, and never changed by stale evidence."""

from __future__ import annotations

import msgspec

from gateway.core import Route, Standing
from gateway.store.database import Database
from gateway.store.standings import StandingStore

LIVE = Standing(task="cards", lane="fingerprint", stage="live", version=3, threshold=0.8, valid_from=7.5)


def test_an_unknown_task_is_a_shadow_without_a_version(database: Database) -> None:
    assert StandingStore(database).of(Route("cards")) == Standing(task="cards", lane="fingerprint")


def test_a_put_standing_comes_back_whole(database: Database) -> None:
    standings = StandingStore(database)

    standings.put(LIVE)

    assert standings.of(Route("cards")) == LIVE


def test_the_lanes_of_a_task_are_separate(database: Database) -> None:
    standings = StandingStore(database)

    standings.put(LIVE)

    assert standings.of(Route("cards", "embedding")).stage == "shadow"


def test_a_refresh_shows_what_another_process_put(database: Database, other_process: Database) -> None:
    standings = StandingStore(database)
    StandingStore(other_process).put(LIVE)

    standings.refresh()

    assert standings.all() == [LIVE]


def test_of_two_workers_with_the_same_alarm_one_writes_it(
    database: Database, other_process: Database
) -> None:
    """`put_if` compares with the stored epoch, not with the one that this process last read."""
    first, second = StandingStore(database), StandingStore(other_process)
    alarm = msgspec.structs.replace(LIVE, stage="alarm", epoch=1)

    written = [first.put_if(0, alarm), second.put_if(0, msgspec.structs.replace(alarm, note="later"))]

    assert written == [True, False]
    assert second.of(Route("cards")) == alarm


def test_an_unknown_standing_has_epoch_0(database: Database) -> None:
    standings = StandingStore(database)

    assert not standings.put_if(1, LIVE)
    assert standings.put_if(0, LIVE)
