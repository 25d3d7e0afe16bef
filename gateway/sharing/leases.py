"""Leases of limits: what Valkey holds for all machines, and the one script that gives it out.

A machine takes a part of a limit for itself, and admits requests from it without asking. What is not used
goes back. So the machines together never admit more than the limit, however far apart they are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from gateway.sharing.base import AwayError, Config
from gateway.sharing.contact import Contact
from gateway.sharing.valkey import connection_options, describe_fault, import_client

ASK_S = 0.04
"""The longest that a request near its limit waits for an answer; then this machine's share decides."""
SLOT_S = 10
"""How long a machine that ended without a word keeps the places of its requests."""

Kind = Literal["rate", "gauge", "usd"]
# Full buckets and free places have no key. `left` is what one machine may take beside what it needs: a
# half of its part, so that near the limit each unit is asked for.
_LEASE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local machine, machines = ARGV[1], tonumber(ARGV[2])
local said = {}
for i = 1, #KEYS - 1 do
  local at = 3 + (i - 1) * 7
  local kind, limit, period = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local need, want = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local own, seen = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local granted, level = 0, 0
  if kind == 'rate' then
    need = math.min(need, limit)
    local unit = period / limit
    local full, made = string.match(redis.call('GET', KEYS[i]) or '', '^(%S+) (%S+)$')
    full, made = tonumber(full or now), tonumber(made or now)
    -- A bucket that was just made may be that of a store which forgot it.
    if now - made < 5 then full = math.max(full, now + seen) end
    full = math.max(full, now) - own * unit
    full = math.min(math.max(full, now), now + 10 * period)
    local left = (period - (full - now)) / unit
    -- A clock of microseconds since 1970 has lost so much of a unit after some hundred questions.
    if left + 0.01 >= need then granted = math.max(need, math.min(want, left / (2 * machines))) end
    full = full + granted * unit
    level = full - now
    if level > 0 then
      redis.call('SET', KEYS[i], string.format('%.6f %.6f', full, made), 'PX', math.ceil(level * 1000))
    else redis.call('DEL', KEYS[i]) end
  else
    local all, others = redis.call('HGETALL', KEYS[i]), 0
    for j = 1, #all, 2 do
      local held, ends = string.match(all[j + 1], '^(%S+) (%S+)$')
      if tonumber(ends) < now then redis.call('HDEL', KEYS[i], all[j])
      elseif all[j] ~= machine then others = others + tonumber(held) end
    end
    local left = limit - others - need
    granted = own
    if left >= -0.000000001 then
      left = left / (2 * machines)
      if kind == 'gauge' then left = math.floor(left) end
      granted = math.max(need, math.min(want, need + left))
    end
    level = others
    if granted > 0 then
      redis.call('HSET', KEYS[i], machine, string.format('%.17g %.3f', granted, now + period))
      redis.call('EXPIRE', KEYS[i], math.ceil(period))
    else redis.call('HDEL', KEYS[i], machine) end
  end
  redis.call('ZADD', KEYS[#KEYS], now, kind .. ' ' .. KEYS[i])
  said[#said + 1] = string.format('%.17g', granted)
  said[#said + 1] = string.format('%.17g', level)
end
return said
"""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine asks of one limit."""

    name: str
    kind: Kind
    limit: float
    period_s: float
    """Of a rate: in which the limit comes back. Else how long what is granted is kept for this machine."""
    need: float
    """Without so much, nothing is granted. Of a gauge and of dollars: all that this machine is to have."""
    want: float
    own: float
    """Of a rate: units of an earlier lease that are given back; negative, used without one. Of a gauge and
    of dollars: what this machine uses already, whatever is granted."""
    alone: float = 0.0
    """Of a rate: units that were taken as a share while no leases were given."""
    seen_s: float = 0.0
    """Of a rate: how long its bucket takes to fill, as last seen. It counts where the store forgot it."""


class Grant(msgspec.Struct, frozen=True):
    """What a machine got of one limit."""

    granted: float
    level: float
    """Of a rate: how long its bucket takes to fill. Else what the other machines have."""


class LeaseOffice:
    """Asks Valkey for leases, from the event loop of a worker; connects at the first question."""

    def __init__(
        self, config: Config, machine: str, contact: Contact, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._machine = machine
        self._contact = contact
        self._clock = clock
        self.waits = self.misses = 0
        """Questions that a request waited for, and of all those that had no answer."""
        self._unanswered_at = 0.0
        self._client: Any = None
        self._script: Any = None
        self._errors: tuple[type[Exception], ...] = (TimeoutError, OSError)

    @property
    def is_open(self) -> bool:
        """Whether leases are given; if not, each machine has its share of each limit.

        After a question that went unanswered not before the next contact: one request waits, not each.
        """
        return self._contact.is_connected and self._contact.at > self._unanswered_at

    @property
    def contact_at(self) -> float:
        """The time of the last contact, in monotonic seconds."""
        return self._contact.at

    @property
    def machines(self) -> int:
        """How many machines share the limits."""
        return self._contact.machines

    @property
    def reachable_share(self) -> float:
        """The part of each limit that is for the machines that can be reached; the rest is the others'."""
        return self._contact.reachable_share

    async def ask(self, asks: Sequence[Ask]) -> list[Grant]:
        """Return a grant for each of `asks`. Raises AwayError, after ASK_S at the latest."""
        if not self.is_open:
            raise AwayError("no leases are given at the moment")
        try:
            async with asyncio.timeout(ASK_S):
                said = await self._run(asks)
        except self._errors as exc:
            self._unanswered_at = self._clock()
            self.misses += 1
            raise AwayError(describe_fault(exc)) from exc
        numbers = [float(each) for each in said]
        return [Grant(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.aclose()

    async def _run(self, asks: Sequence[Ask]) -> Any:
        if self._client is None:
            self._connect()
        share = self.reachable_share
        arguments: list[object] = [self._machine, self.machines]
        for ask in asks:
            arguments += [
                ask.kind,
                ask.limit * share,
                ask.period_s,
                ask.need,
                ask.want,
                ask.own - ask.alone,
                ask.seen_s,
            ]
        prefix = f"{{{self._config.prefix}}}:"
        keys = [*(f"{prefix}limit:{ask.name}" for ask in asks), f"{prefix}active"]
        return await self._script(keys=keys, args=arguments)

    def _connect(self) -> None:
        redis = import_client()
        import redis.asyncio as client

        self._errors = (redis.RedisError, TimeoutError, OSError)
        # One connection that is kept; a pool without a bound would open one for each waiting request.
        pool = client.BlockingConnectionPool.from_url(
            **connection_options(self._config, ASK_S), max_connections=2, timeout=ASK_S
        )
        self._client = client.Redis.from_pool(pool)
        self._script = self._client.register_script(_LEASE)
