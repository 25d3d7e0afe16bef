"""Two gateways on one Valkey, which is killed, frozen, emptied, filled and locked: clients notice nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
import pytest

from gateway.registry.models import Registry
from gateway.specialists.runtimes.scripted import Script
from gateway.store.home import Home
from gateway.store.state import open_state
from tests.faults.conftest import QUIET
from tests.sharing.test_synchronizer import in_alarm
from tests.specialists.hosting import publish_script
from tests.support.builders import certified
from tests.support.processes import RunningGateway, children, gateway_process, stepdown
from tests.support.scripted_gateway import put_task, scripted_gateway
from tests.support.teacher import RunningTeacher
from tests.support.valkey import RunningValkey, running_valkey
from tests.support.waiting import wait_for

OWN_KEY = {"OPENAI_API_KEY": "sk-provider", **QUIET}
MODULE = "gateway.processes.shared_state"
PROMPT_S = 5.0
"""A second is promised; a busy machine may take longer."""


class Pair:
    """Two gateways that share their state, and a key that both know."""

    def __init__(self, first: RunningGateway, second: RunningGateway, valkey: RunningValkey) -> None:
        self.both = (first, second)
        self.first, self.second = first, second
        self.valkey = valkey
        self.key_id, self.key = create_key(first, "app")
        self.bearer = {"authorization": f"Bearer {self.key}"}
        wait_for(lambda: self.ask(second) == 200, "the second gateway does not know the key")

    def ask(self, gateway: RunningGateway) -> int:
        return gateway.chat(self.bearer, model="gpt-4o").status

    def wait_for_state(self, state: str) -> None:
        for each in self.both:
            wait_for(partial(self._is, each, state), f"it is not {state}")

    def _is(self, gateway: RunningGateway, state: str) -> bool:
        return shared(gateway)["state"] == state


def create_key(gateway: RunningGateway, name: str) -> tuple[str, str]:
    plain = stepdown(gateway.home, "keys", "create", "--name", name).stdout.strip()
    [line] = [one for one in stepdown(gateway.home, "keys", "list").stdout.splitlines() if name in one]
    return line.split()[0], plain


def shared(gateway: RunningGateway) -> dict[str, object]:
    return dict(gateway.status()["shared_state"])


@pytest.fixture(scope="module")
def valkey() -> Iterator[RunningValkey]:
    with running_valkey() as valkey:
        yield valkey


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, running: RunningTeacher, valkey: RunningValkey
) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("machines")
    environment = {"OPENAI_BASE_URL": running.base_url, "STEPDOWN_STATE_URL": valkey.url, **OWN_KEY}
    with ExitStack() as stack:
        both = [stack.enter_context(gateway_process(folder / name, **environment)) for name in "ab"]
        yield Pair(both[0], both[1], valkey)


def test_a_revoked_key_is_refused_on_the_other_machine(pair: Pair) -> None:
    key_id, key = create_key(pair.first, "short-lived")
    bearer = {"authorization": f"Bearer {key}"}
    wait_for(lambda: pair.second.chat(bearer, model="gpt-4o").status == 200, "the key is unknown")

    assert stepdown(pair.second.home, "keys", "revoke", key_id).returncode == 0
    began = time.monotonic()
    wait_for(lambda: pair.first.chat(bearer, model="gpt-4o").status == 401, "the key is still good")

    assert time.monotonic() - began < PROMPT_S


def lock(valkey: RunningValkey) -> None:
    """Change the password, and end the connections that know the old one."""
    valkey.admin.config_set("requirepass", "another")
    valkey.admin.client_kill_filter(skipme=True, _type="normal")
    valkey.admin.client_kill_filter(skipme=True, _type="pubsub")


FAULTS: dict[str, tuple[Callable[[RunningValkey], object], Callable[[RunningValkey], object], str]] = {
    "killed": (RunningValkey.kill, RunningValkey.start_again, ""),
    "frozen": (RunningValkey.freeze, RunningValkey.thaw, "does not answer"),
    "out of memory": (
        lambda valkey: valkey.admin.config_set("maxmemory", "1"),
        lambda valkey: valkey.admin.config_set("maxmemory", "0"),
        "out of memory",
    ),
    "locked": (lock, lambda valkey: valkey.admin.config_set("requirepass", ""), "password"),
    "a replica": (
        lambda valkey: valkey.admin.replicaof("127.0.0.1", 1),
        lambda valkey: valkey.admin.replicaof("no", "one"),
        "replica",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_while_valkey_is_away_requests_are_answered_and_changes_wait(pair: Pair, fault: str) -> None:
    """One line in the log, a word in the status, ready all the time; it catches up by itself."""
    begin, end, why = FAULTS[fault]
    said = pair.second.log().count("shared state is away")
    begin(pair.valkey)
    try:
        pair.wait_for_state("away")
        assert why in str(shared(pair.first)["why"])
        assert [pair.ask(each) for each in pair.both * 5] == [200] * 10
        assert [each.ask("GET", "/readyz").status for each in pair.both] == [200, 200]
        _, key = create_key(pair.first, fault)
        bearer = {"authorization": f"Bearer {key}"}
        assert pair.first.chat(bearer, model="gpt-4o").status == 200
        assert pair.second.chat(bearer, model="gpt-4o").status == 503, "unknown here, perhaps not elsewhere"
        assert shared(pair.first)["waiting"]
    finally:
        end(pair.valkey)
    pair.wait_for_state("connected")
    wait_for(lambda: pair.second.chat(bearer, model="gpt-4o").status == 200, "the key did not come")
    wait_for(lambda: not shared(pair.first)["waiting"], "something still waits")
    assert pair.second.log().count("shared state is away") == said + 1


def test_an_emptied_valkey_empties_no_keys(pair: Pair) -> None:
    pair.valkey.admin.flushall()

    wait_for(lambda: pair.valkey.admin.exists("{stepdown}:rows"), "it is not filled again")
    assert [pair.ask(each) for each in pair.both * 5] == [200] * 10
    wait_for(lambda: len(pair.valkey.admin.hgetall("{stepdown}:machines")) == 2, "a machine is missing")


def test_the_process_that_exchanges_is_started_again(pair: Pair) -> None:
    pair.first.kill(MODULE)
    _, key = create_key(pair.second, "after the kill")
    bearer = {"authorization": f"Bearer {key}"}

    wait_for(lambda: pair.first.chat(bearer, model="gpt-4o").status == 200, "the key did not come")


def test_keys_count_for_so_long_without_the_others(
    tmp_path: Path, running: RunningTeacher, valkey: RunningValkey
) -> None:
    """Then a key may have been revoked unseen: 503, and the worker stays ready."""
    environment = {"OPENAI_BASE_URL": running.base_url, "STEPDOWN_STATE_URL": valkey.url, **OWN_KEY}
    environment |= {"STEPDOWN_STATE_MAX_STALE_S": "3", "STEPDOWN_STATE_PREFIX": "stale"}
    with gateway_process(tmp_path / "home", **environment) as gateway:
        _, key = create_key(gateway, "app")
        bearer = {"authorization": f"Bearer {key}"}
        wait_for(lambda: gateway.chat(bearer, model="gpt-4o").status == 200, "the key is unknown")
        valkey.freeze()
        try:
            wait_for(lambda: gateway.chat(bearer, model="gpt-4o").status == 503, "it is still good")
            assert gateway.ask("GET", "/readyz").status == 200
        finally:
            valkey.thaw()
        wait_for(lambda: gateway.chat(bearer, model="gpt-4o").status == 200, "it does not come back")


def test_a_new_machine_is_ready_once_it_has_the_state_of_the_others(
    tmp_path: Path, running: RunningTeacher, valkey: RunningValkey
) -> None:
    """Before, it would refuse every key. A machine that was here already is ready without Valkey."""
    environment = {"OPENAI_BASE_URL": running.base_url, "STEPDOWN_STATE_URL": valkey.url, **OWN_KEY}
    environment |= {"STEPDOWN_STATE_PREFIX": "new"}
    home = tmp_path / "home"
    valkey.freeze()
    thawing = threading.Timer(4.0, valkey.thaw)
    thawing.start()
    began = time.monotonic()
    with gateway_process(home, **environment) as gateway:
        assert time.monotonic() - began >= 4.0
        _, key = create_key(gateway, "app")
    valkey.freeze()
    try:
        with gateway_process(home, **environment) as gateway:
            assert gateway.chat({"authorization": f"Bearer {key}"}, model="gpt-4o").status == 200
    finally:
        valkey.thaw()


def test_a_certificate_is_a_lease_and_an_alarm_of_one_machine_is_everyones(
    tmp_path: Path, running: RunningTeacher, valkey: RunningValkey
) -> None:
    environment = {"OPENAI_BASE_URL": running.base_url, "OPENAI_API_KEY": "sk-provider"}
    environment |= {
        "STEPDOWN_STATE_URL": valkey.url,
        "STEPDOWN_STATE_PREFIX": "lease",
        "STEPDOWN_STATE_LEASE_S": "3",
    }
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                scripted_gateway(tmp_path / name, Script(otherwise="local"), "--open", **environment)
            )
            for name in "ab"
        )

        def serve() -> list[int]:
            return [each.chat(model="stepdown/support").status for each in (first, second)]

        wait_for(lambda: serve() == [200, 200], "a machine does not serve")
        valkey.freeze()
        assert serve() == [200, 200], "the lease has only begun"
        wait_for(lambda: serve() == [503, 503], "a machine serves without a lease")
        assert not shared(first)["has_lease"]
        assert [each.ask("GET", "/readyz").status for each in (first, second)] == [200, 200]
        valkey.thaw()
        wait_for(lambda: serve() == [200, 200], "a machine does not serve again")

        with open_state(Home(first.home)) as state:
            live = state.certifications.of("support")
            assert state.certifications.put_if(live.epoch, in_alarm(live))
        began = time.monotonic()
        wait_for(lambda: not second.status()["tasks"][0]["is_serving"], "it serves after an alarm")
        assert time.monotonic() - began < PROMPT_S


def certify_script(home: Path, script: Script) -> None:
    """Put a live task whose certificate names the very files, as the learner does."""
    with open_state(Home(home)) as state:
        registry = Registry(Home(home).registry)
        publish_script(registry, home / "script", script, task="support")
        pinned = msgspec.structs.replace(certified("support"), digest=registry.digest("support", 1))
        state.certifications.put(pinned)
        put_task(state, "support")


def test_a_certificate_speaks_of_one_model_though_two_have_its_number(
    tmp_path: Path, running: RunningTeacher, valkey: RunningValkey
) -> None:
    """Each machine learnt the task while it served alone; then they share their certificates."""
    environment = {"OPENAI_BASE_URL": running.base_url, "OPENAI_API_KEY": "sk-provider"}
    environment |= {"STEPDOWN_STATE_URL": valkey.url, "STEPDOWN_STATE_PREFIX": "numbers"}
    with ExitStack() as stack:
        both = []
        for name in "ab":
            certify_script(tmp_path / name, Script(otherwise=name))
            both.append(stack.enter_context(gateway_process(tmp_path / name, "--open", **environment)))

        def answers() -> list[int]:
            return sorted(each.chat(model="stepdown/support").status for each in both)

        wait_for(lambda: answers() == [200, 503], "not one machine alone has what was certified")


def test_without_a_url_there_is_no_such_process_and_nothing_is_noted(
    tmp_path: Path, running: RunningTeacher, valkey: RunningValkey
) -> None:
    """Also where the home was one of several machines before."""
    environment = {"OPENAI_BASE_URL": running.base_url, **OWN_KEY}
    home = tmp_path / "home"
    with gateway_process(
        home, STEPDOWN_STATE_URL=valkey.url, STEPDOWN_STATE_PREFIX="x", **environment
    ) as one:
        wait_for(lambda: shared(one)["state"] == "connected", "it is not connected")
        assert MODULE in children(one.process.pid).values()
    with gateway_process(home, **environment) as one:
        assert MODULE not in children(one.process.pid).values()
        assert one.status()["shared_state"] is None
        create_key(one, "app")
    with open_state(Home(home)) as state:
        assert not state.database.read("SELECT 1 FROM outgoing")


def test_a_url_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    for url, why in (
        ("redis+sentinel://127.0.0.1/mymaster", "one address that always leads to the primary"),
        ("http://127.0.0.1", "begins with redis://"),
        ("redis://:secret@127.0.0.1", "STEPDOWN_STATE_PASSWORD"),
    ):
        ended = stepdown(tmp_path, "serve", "--port", "0", STEPDOWN_STATE_URL=url, **OWN_KEY)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
        assert why in ended.stderr
        assert "secret" not in ended.stderr
