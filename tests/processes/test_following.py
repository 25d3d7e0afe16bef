"""What a worker could not read for too long counts no more: keys are refused, no specialist serves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from gateway.errors import RegistryError, RequestError
from gateway.processes.following import CONTACT_LIMIT_S, LOAD_AGAIN_S, WARM_LIMIT_S, Following
from gateway.processes.loops import Loops, StepLog
from gateway.registry.files import digest_of
from gateway.registry.models import MANIFEST, Registry
from gateway.sharing.contact import Contact
from gateway.specialists.client.client import HostClient
from gateway.store.forgets import ForgetRequest, MachineAnswer
from gateway.store.keys import hash_key
from gateway.store.state import State
from gateway.telemetry.metrics import Metrics
from tests.support.builders import certified


def follow(
    state: State,
    tmp_path: Path,
    stale_after_s: float = 30.0,
    *,
    contact: Contact | None = None,
    drafter: object = None,
    is_pulling: bool = True,
) -> Following:
    return Following(
        state,
        refresh_accounts=lambda: None,
        metrics=Metrics(),
        drafter=cast(HostClient, drafter),
        registry=Registry(tmp_path / "registry"),
        stale_after_s=stale_after_s,
        contact=contact,
        is_pulling=is_pulling,
    )


def test_keys_that_were_read_lately_are_found(state: State, tmp_path: Path) -> None:
    _, plain = state.keys.create("app")
    following = follow(state, tmp_path)

    assert following.is_fresh
    assert following.find_key(hash_key(plain.encode()))
    assert following.find_key("unknown") is None


def test_keys_that_may_have_been_revoked_unseen_are_refused_for_now(state: State, tmp_path: Path) -> None:
    """503, not 401: another replica may know them, and clients try again."""
    _, plain = state.keys.create("app")
    following = follow(state, tmp_path)
    state.keys.read_at -= 31

    assert not following.is_fresh
    with pytest.raises(RequestError) as refused:
        following.find_key(hash_key(plain.encode()))
    assert (refused.value.status, refused.value.code) == (503, "keys_unreadable")

    state.keys.refresh()
    assert following.find_key(hash_key(plain.encode()))


async def test_no_specialist_serves_by_certificates_that_are_too_old(state: State, tmp_path: Path) -> None:
    """An alarm may have been given meanwhile. When they can be read, they count again."""
    state.certifications.put(certified("cards", 2))
    following = follow(state, tmp_path)
    following._refreshed_at -= 31

    await following._watch_age()
    assert state.certifications.of("cards").version is None

    await following._refresh()
    assert following.is_fresh
    assert state.certifications.of("cards").version == 2


class Host:
    """A model host that refuses some versions, and is not always there."""

    def __init__(self) -> None:
        self.is_ready = False
        self.loads: list[tuple[str, int]] = []
        self.refused: set[str] = set()
        self.held: set[tuple[str, int]] = set()

    async def load(self, task: str, version: int, folder: Path) -> None:
        self.loads.append((task, version))
        if task in self.refused:
            raise RegistryError("head.npz was changed")
        self.held.add((task, version))

    async def unload(self, task: str, version: int) -> None:
        self.loads.remove((task, version))
        self.held.discard((task, version))


async def test_a_machine_among_several_is_ready_once_it_drafts_what_it_may(
    state: State, tmp_path: Path
) -> None:
    """Before, another one answers: a rolling upgrade costs no local answers."""
    contact, host = cast(Contact, SimpleNamespace(has_been=True, has_lease=True)), Host()
    following = follow(state, tmp_path, contact=contact, drafter=host)
    state.certifications.put(certified("cards", 2))
    await following._refresh()
    assert [following.is_ready] == [False]

    await following._follow_versions()
    assert host.loads == [("cards", 2)]
    assert [following.is_ready] == [False], "the host is still to load it"
    host.is_ready = True
    await following._refresh()
    await following._follow_versions()
    assert following.is_ready

    following = follow(state, tmp_path, contact=contact, drafter=Host())
    following._began_at -= WARM_LIMIT_S + 1
    assert following.is_ready, "not for ever"


async def test_one_that_reaches_no_other_waits_shortly_and_once(state: State, tmp_path: Path) -> None:
    """No specialist serves without the others: in an outage a restart must not cost more than it does."""
    contact = SimpleNamespace(has_been=True, has_lease=False)
    following = follow(state, tmp_path, contact=cast(Contact, contact), drafter=Host())
    state.certifications.put(certified("cards", 2))
    await following._refresh()
    assert [following.is_ready] == [False]

    following._began_at -= CONTACT_LIMIT_S + 1
    assert following.is_ready
    contact.has_lease = True
    assert following.is_ready, "the others are back, and it serves on"


async def test_a_machine_that_was_away_forgets_before_it_serves(state: State, tmp_path: Path) -> None:
    """What is to be forgotten may be what its specialist has learnt; one that was there goes on."""
    here = SimpleNamespace(has_been=True, has_lease=True)
    following = follow(state, tmp_path, contact=cast(Contact, here), drafter=Host())
    state.certifications.put(certified("cards", 2))
    await following._refresh()
    state.forgets.add(ForgetRequest("f", "other", 1.0, "{}"))
    await following._refresh()
    await following._watch_age()
    assert [one.version for one in state.certifications.all()] == [2]

    here.has_lease = False
    await following._watch_age()
    here.has_lease = True
    await following._refresh()
    assert state.certifications.all() == []
    await following._follow_versions()

    state.forgets.answer("f", MachineAnswer("", is_done=True, traces=0, body="{}"))
    await following._refresh()
    assert [one.version for one in state.certifications.all()] == [2]


async def test_a_machine_that_starts_forgets_before_it_serves(state: State, tmp_path: Path) -> None:
    contact = cast(Contact, SimpleNamespace(has_been=True, has_lease=True))
    state.certifications.put(certified("cards", 2))
    state.certifications.forget()
    state.forgets.add(ForgetRequest("f", "other", 1.0, "{}"))
    following = follow(state, tmp_path, contact=contact, drafter=Host())
    await following._refresh()
    assert state.certifications.all() == []


async def test_a_version_is_loaded_when_it_is_here_as_it_was_certified(state: State, tmp_path: Path) -> None:
    host = Host()
    following = follow(state, tmp_path, drafter=host)
    pinned = msgspec.structs.replace(certified("support", 1), digest="0" * 64)
    state.certifications.put(pinned)
    await following._refresh()
    await following._follow_versions()
    assert not host.loads

    folder = tmp_path / "registry/support/1"
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_bytes(b"{}")
    state.certifications.put(msgspec.structs.replace(pinned, digest=digest_of(folder / MANIFEST)))
    await following._refresh()
    await following._follow_versions()
    assert host.loads == [("support", 1)]


async def test_another_machines_version_of_the_same_number_is_not_served(
    state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two machines that served alone have each a version 1; without a storage nothing else can come."""
    host = Host()
    following = follow(state, tmp_path, drafter=host, is_pulling=False)
    folder = tmp_path / "registry/support/1"
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_bytes(b"{}")
    ours = msgspec.structs.replace(certified("support", 1), digest=digest_of(folder / MANIFEST))
    state.certifications.put(ours)
    await following._refresh()
    await following._follow_versions()
    assert host.loads == [("support", 1)]

    state.certifications.put(msgspec.structs.replace(ours, digest="0" * 64))
    for _ in range(2):
        await following._refresh()
        await following._follow_versions()
    assert not host.loads
    assert caplog.text.count("what was certified is not on this machine") == 1

    state.certifications.put(ours)
    following._refused.clear()
    await following._refresh()
    await following._follow_versions()
    assert host.loads == [("support", 1)]


async def test_a_refused_version_is_tried_again_and_said_once(
    state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its files may be put right."""
    host = Host()
    host.refused = {"cards"}
    following = follow(state, tmp_path, drafter=host)
    state.certifications.put(certified("cards", 2))
    for _ in range(3):
        await following._refresh()
        await following._follow_versions()
        following._refused = dict.fromkeys(following._refused, -LOAD_AGAIN_S)
    assert host.loads == [("cards", 2)] * 3
    assert len([one for one in caplog.records if "cannot serve" in one.message]) == 1

    host.refused = set()
    for _ in range(2):
        await following._refresh()
        await following._follow_versions()
    assert host.loads == [("cards", 2)] * 4


async def test_a_version_that_a_restarted_host_refused_is_tried_again(state: State, tmp_path: Path) -> None:
    """Its folder was away while the host was started again, and an operator has put it back."""
    host = Host()
    following = follow(state, tmp_path, drafter=host)
    state.certifications.put(certified("cards", 2))
    await following._refresh()
    await following._follow_versions()
    host.held.clear()
    for _ in range(2):
        await following._refresh()
        await following._follow_versions()

    assert host.loads == [("cards", 2)] * 2


async def test_a_loop_outlives_every_error_and_waits_for_no_other() -> None:
    loops, seen = Loops(), asyncio.Event()
    failures = 0

    async def fail() -> None:
        nonlocal failures
        failures += 1
        if failures == 3:
            seen.set()
        raise ZeroDivisionError

    async def hang() -> None:
        await asyncio.Event().wait()

    loops.start(hang, 0.0)
    loops.start(fail, 0.0)
    async with asyncio.timeout(60):
        await seen.wait()
    await loops.stop()

    assert failures >= 3


def test_a_step_that_goes_on_failing_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    log = StepLog()

    def fail() -> None:
        raise OSError("no disk")

    assert [log.run(fail) for _ in range(3)] == [False] * 3
    assert len(caplog.records) == 1


async def test_a_worker_that_cannot_read_the_freezes_is_not_fresh(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task may have been frozen unseen: then nothing is served locally."""

    def fail() -> None:
        raise OSError("no disk")

    monkeypatch.setattr(state.interventions, "refresh", fail)
    following = follow(state, tmp_path)
    following._refreshed_at -= 31

    await following._refresh()

    assert not following.is_fresh
