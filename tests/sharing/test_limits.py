"""Limits over several machines: exact while Valkey is there, each machine's share while it is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.core import Budget, Limits
from gateway.errors import BudgetSpentError, RateLimitedError
from gateway.finops.budgets import Budgets
from gateway.finops.prices import Price, PriceTable
from gateway.finops.tokens import TokenEstimator
from gateway.policy.key_limits import Admission, KeyLimits
from gateway.sharing import leases
from gateway.sharing.base import Config
from gateway.sharing.contact import Contact
from gateway.sharing.lease_keeper import LeaseKeeper
from gateway.sharing.leases import LeaseOffice
from gateway.sharing.levels import Levels
from gateway.sharing.valkey import Valkey
from gateway.store.keys import KeyFacts
from gateway.store.shared_counters import Counters, create_counters
from tests.support.builders import request
from tests.support.valkey import RunningValkey
from tests.support.waiting import PATIENCE_S

LIMIT = 300
RPM = KeyFacts(id="k", name="k", tenant="k", created_at=0.0, limits=Limits(requests_per_minute=LIMIT))
PLACES = KeyFacts(id="p", name="p", tenant="p", created_at=0.0, limits=Limits(concurrent_requests=7))
PLENTY = KeyFacts(id="q", name="q", tenant="q", created_at=0.0, limits=Limits(requests_per_minute=100_000))
TPM = KeyFacts(id="t", name="t", tenant="t", created_at=0.0, limits=Limits(tokens_per_minute=1_000))


class Limiter:
    """The limits of one machine, as its worker holds them; `time` moves for it alone."""

    def __init__(self, folder: Path, config: Config, machines: int) -> None:
        self.name = folder.name
        create_counters(folder, 2)
        self.counters = Counters(folder, 0)
        self.now = time.monotonic()
        self.contact = Contact(self.counters, config, self.clock)
        self.contact.note(machines)
        office = LeaseOffice(config, folder.name, self.contact, self.clock)
        self.keeper = LeaseKeeper(office, self.clock)
        self.limits = KeyLimits(self.counters, self.clock, keeper=self.keeper)
        self.budgets = Budgets(
            self.limits.spend,
            PriceTable({"giant": Price(input_usd_per_mtok=0.0, output_usd_per_mtok=1.0)}),
            TokenEstimator(),
        )

    def clock(self) -> float:
        return self.now

    async def admit(self, key: KeyFacts, tokens: float = 0.0) -> Admission | None:
        """Return the admission, None if it was refused."""
        try:
            if self.limits.lacks_lease(key, tokens):
                await self.limits.take_leases(key, tokens)
            return self.limits.admit(key, tokens)
        except RateLimitedError:
            return None

    async def admit_many(self, key: KeyFacts, times: int, tokens: float = 0.0) -> int:
        return sum([await self.admit(key, tokens) is not None for _ in range(times)])

    def lose_contact(self) -> None:
        """Let the last contact be long ago; the clocks of the limits go on as they did."""
        self.contact._cell.value -= 60.0

    async def reserve(self, usd: float, limit: float) -> bool:
        asked = request(body=b'{"max_tokens":%d}' % (usd * 1e6))
        try:
            await self.budgets.reserve(asked, (Budget("policy p", "month", limit, "p"),))
        except BudgetSpentError:
            return False
        return True


Create = Callable[..., Limiter]
Refilled = Callable[[], float]


@pytest.fixture
async def limiter(
    valkey: RunningValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Create]:
    # A request would not wait so long; on a busy machine Valkey is late, and its answer is what is tested.
    monkeypatch.setattr(leases, "ASK_S", PATIENCE_S)
    async with AsyncExitStack() as stack:

        def create(name: str, machines: int = 3) -> Limiter:
            one = Limiter(tmp_path / name, Config(url=valkey.url), machines)
            stack.push_async_callback(one.keeper.stop)
            return one

        yield create


@pytest.fixture
async def three(limiter: Create) -> list[Limiter]:
    return [limiter(name) for name in ("a", "b", "c")]


@pytest.fixture
def refilled() -> Callable[[], float]:
    """Return what came back of LIMIT since the test began: Valkey has a clock of its own."""
    began = time.monotonic()
    return lambda: (time.monotonic() - began) * LIMIT / 60


async def test_three_machines_at_once_admit_what_one_would(three: list[Limiter], refilled: Refilled) -> None:
    counts = await asyncio.gather(*(each.admit_many(RPM, LIMIT) for each in three))

    assert sum(counts) <= (LIMIT + refilled()) * 1.02
    # What is left over is in leases, and comes back when they are swept.
    assert sum(counts) >= LIMIT * 0.9


async def test_one_machine_of_three_may_use_the_whole_limit(three: list[Limiter], refilled: Refilled) -> None:
    """However the load balancer spreads clients."""
    assert LIMIT <= await three[0].admit_many(RPM, LIMIT + 50) <= LIMIT + refilled() + 1


async def test_a_limit_of_few_is_exact_wherever_requests_come(limiter: Create) -> None:
    few = KeyFacts(id="f", name="f", tenant="f", created_at=0.0, limits=Limits(requests_per_minute=3))
    machines = [limiter(name) for name in ("a", "b", "c")]

    admitted = [await each.admit(few) is not None for each in machines * 2]

    assert admitted == [True] * 3 + [False] * 3


async def test_leases_save_most_questions(limiter: Create, valkey: RunningValkey) -> None:
    one = limiter("a")
    before = valkey.admin.info("commandstats")
    for _ in range(1_000):
        assert await one.admit(PLENTY)
        one.now += 0.01
        one.contact.note(3)
    after = valkey.admin.info("commandstats")

    asked = sum(after.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))
    assert not before.get("cmdstat_evalsha")
    assert asked < 40


async def test_what_a_lease_leaves_over_comes_back(three: list[Limiter]) -> None:
    first, second, _ = three
    for _ in range(20):
        await first.admit(RPM)
    first.now += 5.0
    first.contact.note(3)
    await first.keeper.sweep()

    assert await second.admit_many(RPM, LIMIT) >= LIMIT - 25


async def test_a_machine_that_ends_gives_back_what_it_has(three: list[Limiter]) -> None:
    first, second, _ = three
    for _ in range(20):
        await first.admit(RPM)
    await first.keeper.stop()

    assert await second.admit_many(RPM, LIMIT) >= LIMIT - 21


async def test_requests_under_way_are_counted_over_all_machines(three: list[Limiter]) -> None:
    admissions = [await each.admit(PLACES) for each in three * 4]
    under_way = [one for one in admissions if one]
    assert len(under_way) <= 7
    assert len(under_way) >= 5

    for one in under_way:
        one.close()
    for each in three:
        await each.keeper.sweep()
        await each.keeper.sweep()
    assert sum([await three[1].admit(PLACES) is not None for _ in range(10)]) == 7


async def test_tokens_that_an_answer_took_count_on_the_other_machines(three: list[Limiter]) -> None:
    first, second, _ = three
    admission = await first.admit(TPM, 10)
    assert admission
    admission.take_tokens(100)
    first.limits.settle("t", reserved_tokens=110, tokens=900, usd=0.0)
    await first.keeper.sweep()

    assert await second.admit(TPM, 200) is None
    assert await second.admit(TPM, 50) is not None


async def test_away_each_machine_has_its_share(three: list[Limiter]) -> None:
    for each in three:
        each.lose_contact()

    counts = [await each.admit_many(RPM, LIMIT) for each in three]

    assert counts == [LIMIT // 3] * 3


async def test_what_was_taken_before_counts_in_the_share(three: list[Limiter], refilled: Refilled) -> None:
    """At most a fifth too much, though Valkey goes amid a burst."""
    before = [await each.admit_many(RPM, LIMIT // 6) for each in three]
    for each in three:
        each.lose_contact()
    after = [await each.admit_many(RPM, LIMIT) for each in three]

    assert sum(before) + sum(after) <= LIMIT * 1.2 + refilled()


async def test_what_a_share_took_counts_when_leases_are_given_again(
    three: list[Limiter], refilled: Refilled
) -> None:
    for each in three:
        each.lose_contact()
    alone = [await each.admit_many(RPM, LIMIT) for each in three]
    for each in three:
        each.contact.note(3)
    again = [await each.admit_many(RPM, LIMIT) for each in three]

    assert sum(alone) + sum(again) <= LIMIT * 1.2 + refilled()


async def test_a_flush_is_no_second_burst(
    three: list[Limiter], valkey: RunningValkey, refilled: Refilled
) -> None:
    before = [await each.admit_many(RPM, LIMIT // 4) for each in three]
    valkey.admin.flushall()
    after = 0
    for _ in range(LIMIT):
        after += sum([await each.admit_many(RPM, 1) for each in three])

    assert sum(before) + after <= LIMIT * 1.2 + refilled()


async def test_a_machine_knows_what_only_others_used(three: list[Limiter], valkey: RunningValkey) -> None:
    """When Valkey goes then, it does not take its share of what is gone."""
    first, second, _ = three
    await first.admit_many(RPM, LIMIT)
    for _ in range(60):
        await first.reserve(0.01, 0.6)
    levels = Levels(Valkey(Config(url=valkey.url)), second.counters, "b", second.clock)
    assert levels.refresh() == 2
    second.lose_contact()

    assert await second.admit_many(RPM, LIMIT) < LIMIT * 0.1
    assert not await second.reserve(0.01, 0.6)


async def test_machines_that_may_be_cut_off_keep_their_part(three: list[Limiter], refilled: Refilled) -> None:
    """One of three goes on alone, unseen by the others: together they stay within the limit."""
    lost, *reachable = three
    lost.lose_contact()
    for each in reachable:
        each.contact.note(3, silent=1)

    counts = [await each.admit_many(RPM, LIMIT) for each in three]

    assert sum(counts) <= LIMIT * 1.02 + refilled()


async def test_a_frozen_valkey_costs_one_request_some_milliseconds(
    limiter: Create, valkey: RunningValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "ASK_S", 0.04)
    one = limiter("a")
    assert await one.admit(RPM)
    valkey.freeze()

    began = time.monotonic()
    assert await one.admit(RPM)
    assert await one.admit_many(RPM, 50) == 50

    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("is_away", [False, True])
async def test_dollars_set_aside_never_exceed_the_budget(
    three: list[Limiter], valkey: RunningValkey, *, is_away: bool
) -> None:
    """Also while Valkey is away: each machine has its part of what was free."""
    spent = sum([await three[0].reserve(0.01, 1.0) for _ in range(10)])
    for each in three:
        levels = Levels(Valkey(Config(url=valkey.url)), each.counters, each.name, each.clock)
        levels.refresh()
        if is_away:
            each.lose_contact()
    for _ in range(60):
        for each in three:
            spent += await each.reserve(0.01, 1.0)

    assert 70 <= spent <= 100


async def test_what_others_spent_unseen_exceeds_no_budget(
    three: list[Limiter], valkey: RunningValkey
) -> None:
    """Valkey goes amid steady spending: what the others took since the last look is not spent twice."""
    spent, limit = 0, 2.0
    levels = [Levels(Valkey(Config(url=valkey.url)), one.counters, one.name, one.clock) for one in three]
    for second in range(5):
        for each in three:
            each.now += 1.0
            each.contact.note(3)
            if second < 4:
                spent += sum([await each.reserve(0.01, limit) for _ in range(10)])
                await each.keeper.sweep()
        if second < 4:
            for one in levels:
                one.refresh()
    for each in three[:2]:
        spent += sum([await each.reserve(0.01, limit) for _ in range(15)])
    for each in three:
        each.lose_contact()

    for _ in range(100):
        for each in three:
            spent += await each.reserve(0.01, limit)

    assert 150 < spent <= 200


async def test_dollars_that_a_machine_gave_back_are_free_for_the_others(three: list[Limiter]) -> None:
    first, second, _ = three
    for _ in range(20):
        assert await first.reserve(0.01, 1.0)
    first.now += 5.0
    first.contact.note(3)
    await first.keeper.sweep()

    assert sum([await second.reserve(0.01, 1.0) for _ in range(100)]) >= 75
    assert second.limits.spend["month"].spent("policy p") >= 0.2


async def test_a_limit_in_use_is_renewed_before_a_request_must_wait(limiter: Create) -> None:
    """So a Valkey that freezes is noticed by a sweep, and not by a client."""
    one = limiter("a")
    waited = 0
    for number in range(400):
        waited += one.limits.lacks_lease(PLENTY, 0.0)
        assert await one.admit(PLENTY)
        one.now += 0.02
        one.contact.note(3)
        if number % 50 == 49:
            await one.keeper.sweep()

    assert waited < 12


async def test_what_a_share_took_fades_while_nothing_can_be_asked(three: list[Limiter]) -> None:
    """Sweeps that reach nobody turn it into no debt: after a minute alone the limit is whole."""
    first = three[0]
    assert await first.admit(RPM)
    first.lose_contact()
    await first.admit_many(RPM, LIMIT)
    for _ in range(70):
        first.now += 1.0
        await first.keeper.sweep()
    first.contact.note(3)

    assert await first.admit_many(RPM, LIMIT) >= LIMIT - 2
