"""The machines that share the state: each says once a second that it is there."""

from __future__ import annotations

import secrets
import time

import msgspec

from gateway.sharing.base import AwayError
from gateway.sharing.valkey import Valkey

BEAT_S = 1.0
SILENT_S = 5.0
"""After so long without a sign a machine is taken for cut off."""
GONE_S = 300.0
"""After so long without a sign a machine has no share of the limits any more. Until then it may be cut off
from the others and at work: what is its share stays its own."""
HELD_S = 3
"""For so long after its last sign nobody else takes a machine's name."""
_TAKEN = b"taken"
_BEAT = """
local time = redis.call('TIME')
local at, place = string.match(redis.call('HGET', KEYS[4], ARGV[1]) or '', '^(%d+) (.*)$')
if place and place ~= ARGV[6] and time[1] - at <= tonumber(ARGV[7]) then return {'taken'} end
redis.call('HSET', KEYS[4], ARGV[1], time[1] .. ' ' .. ARGV[6])
redis.call('SET', KEYS[2], ARGV[3], 'NX')
redis.call('SET', KEYS[3], ARGV[4], 'NX')
redis.call('HSET', KEYS[1], ARGV[1], time[1] .. ' ' .. ARGV[2])
local found, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at, policies = string.match(all[i + 1], '^(%d+) (.*)$')
  local age = time[1] - at
  if age > tonumber(ARGV[5]) then redis.call('HDEL', KEYS[1], all[i]); redis.call('HDEL', KEYS[4], all[i])
  else found[#found + 1] = age .. ' ' .. policies end
end
return {redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3]), found, time[1]}
"""


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine learns with each sign of life."""

    generation: str
    """Another one: the store was emptied."""
    audit_key: bytes
    """The key by which every machine chooses the same audits: that of the first."""
    machines: int
    silent: int
    """Of these, those that have given no sign lately."""
    other_policies: int
    clock_ahead_s: float
    """The seconds by which this machine's clock is ahead of that of the shared state."""


class Fleet:
    """The machines, as Valkey lists them. Every method raises AwayError."""

    def __init__(
        self, valkey: Valkey, machine: str, policies: str, audit_key: bytes, place: str = ""
    ) -> None:
        """`policies` is a digest of this machine's policy files, `place` tells it from one with its name."""
        self._valkey = valkey
        self._machine = machine
        self._policies = policies
        self._audit_key = audit_key
        key = valkey.key
        self._place = place
        self._keys = [key("machines"), key("generation"), key("audit-key"), key("places")]

    def beat(self) -> Beat:
        """Say that this machine is there. Fails where nothing can be written: then nobody can warn us.

        So it does while another has this one's name: the two would be taken for one.
        """
        arguments = [
            self._machine, self._policies, secrets.token_hex(8), self._audit_key, int(GONE_S), self._place,
            HELD_S,
        ]  # fmt: skip
        said = self._valkey.run(_BEAT, self._keys, arguments)
        if said[0] == _TAKEN:
            raise AwayError(
                "another machine is there under this one's name, with a copy of its home: stop the copy, "
                "delete the file `machine` in its home, and start it again"
            )
        generation, audit_key, found, seconds = said
        # An emptied store is filled with the key that audits are chosen by, not with that of another time.
        self._audit_key = audit_key
        signs = [each.decode().partition(" ") for each in found]
        return Beat(
            generation=generation.decode(),
            audit_key=audit_key,
            machines=len(signs),
            silent=sum(float(age_s) > SILENT_S for age_s, _, _ in signs),
            other_policies=sum(policies != self._policies for _, _, policies in signs),
            clock_ahead_s=time.time() - float(seconds),
        )

    def leave(self) -> None:
        """Say that this machine ends: its share goes to the others at once."""
        for key in (self._keys[0], self._keys[3]):
            self._valkey.call("HDEL", key, self._machine)
