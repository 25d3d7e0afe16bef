"""How full each limit is over all machines, also for machines that have had no request for it.

Without this one that never saw a limit would think it unused when Valkey goes, and take its whole share.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.sharing.leased_spend import OthersSpend
from gateway.sharing.valkey import Valkey
from gateway.store.shared_counters import Counters

MOST_AT_ONCE = 500
_KEPT_S = 120
# Members of the set are `KIND KEY`, by the time of their last lease.
_LEVELS = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[4])
local said = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], '+inf', 'LIMIT', 0, ARGV[3])) do
  local kind, key = string.match(member, '^(%S+) (.*)$')
  local level = 0
  if kind == 'rate' then
    local full = string.match(redis.call('GET', key) or '', '^%S+')
    level = math.max(0, tonumber(full or now) - now)
  else
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      if all[i] ~= ARGV[1] then level = level + tonumber(string.match(all[i + 1], '^%S+')) end
    end
  end
  said[#said + 1] = member
  said[#said + 1] = string.format('%.17g', level)
end
return {string.format('%.6f', now), said}
"""


class Levels:
    """Writes the levels of limits into this machine's counters. Raises AwayError."""

    def __init__(
        self, valkey: Valkey, counters: Counters, machine: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._valkey = valkey
        self._counters = counters
        self._machine = machine
        self._clock = clock
        self._since = 0.0

    def refresh(self) -> int:
        """Take in what changed since the last time; return how many limits."""
        arguments = [self._machine, self._since, MOST_AT_ONCE, _KEPT_S]
        at, said = self._valkey.run(_LEVELS, [self._valkey.key("active")], arguments)
        self._since = float(at) - 1.0
        prefix = self._valkey.key("limit") + ":"
        for member, level in zip(said[::2], said[1::2], strict=True):
            kind, _, key = member.decode().partition(" ")
            self._note(kind, key.removeprefix(prefix), float(level))
        return len(said) // 2

    def _note(self, kind: str, name: str, level: float) -> None:
        if kind == "rate":
            cell, now = self._counters.cell(name), self._clock()
            with cell.lock:
                cell.value, cell.stamp = now + level, now
        elif kind == "usd":
            name, _, number = name.rpartition("/")
            OthersSpend(self._counters, name).note(level, int(number), self._clock())
