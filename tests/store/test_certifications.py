"""Certifications: the same for every process, and never changed by stale evidence."""

from __future__ import annotations

import msgspec

from gateway.core import Certification
from gateway.store.certifications import CertificationStore
from gateway.store.database import Database
from tests.support.builders import certified

LIVE = certified("cards", 3, threshold=0.8, valid_from=7.5)


def test_an_unknown_task_is_a_shadow_without_a_version(database: Database) -> None:
    assert CertificationStore(database).of("cards") == Certification(task="cards")


def test_a_put_certification_comes_back_whole(database: Database) -> None:
    certifications = CertificationStore(database)

    certifications.put(LIVE)

    assert certifications.of("cards") == LIVE


def test_a_refresh_shows_what_another_process_put(database: Database, other_process: Database) -> None:
    certifications = CertificationStore(database)
    CertificationStore(other_process).put(LIVE)

    certifications.refresh()

    assert certifications.all() == [LIVE]


def test_of_two_workers_with_the_same_alarm_one_writes_it(
    database: Database, other_process: Database
) -> None:
    """`put_if` compares with the stored epoch, not with the one that this process last read."""
    first, second = CertificationStore(database), CertificationStore(other_process)
    alarm = msgspec.structs.replace(LIVE, epoch=1)

    written = [first.put_if(0, alarm), second.put_if(0, msgspec.structs.replace(alarm, note="later"))]

    assert written == [True, False]
    assert second.of("cards") == alarm


def test_what_was_forgotten_is_unknown_until_it_is_read_again(database: Database) -> None:
    certifications = CertificationStore(database)
    certifications.put(LIVE)
    assert [certifications.are_known] == [True]

    certifications.forget()
    assert [certifications.are_known] == [False]
    assert certifications.of("cards").version is None

    certifications.refresh()
    assert [certifications.are_known] == [True]
    assert certifications.of("cards") == LIVE


def test_an_unknown_certification_has_epoch_0(database: Database) -> None:
    certifications = CertificationStore(database)

    assert not certifications.put_if(1, LIVE)
    assert certifications.put_if(0, LIVE)
