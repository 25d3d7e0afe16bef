"""The machines that share the state: each says once a second that it is there."""

from __future__ import annotations

import secrets

import msgspec

from gateway.sharing.valkey import Valkey

BEAT_S = 1.0
SILENT_S = 5.0
"""After so long without a sign a machine is taken for cut off."""
GONE_S = 300.0
"""After so long without a sign a machine has no share of the limits any more. Until then it may be cut off
from the others and at work: what is its share stays its own."""
_BEAT = """
redis.call('SET', KEYS[2], ARGV[3], 'NX')
redis.call('SET', KEYS[3], ARGV[4], 'NX')
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], time[1] .. ' ' .. ARGV[2])
local found, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at, policies = string.match(all[i + 1], '^(%d+) (.*)$')
  local age = time[1] - at
  if age > tonumber(ARGV[5]) then redis.call('HDEL', KEYS[1], all[i])
  else found[#found + 1] = age .. ' ' .. policies end
end
return {redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3]), found}
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


class Fleet:
    """The machines, as Valkey lists them. Every method raises AwayError."""

    def __init__(self, valkey: Valkey, machine: str, policies: str, audit_key: bytes) -> None:
        """`policies` is a digest of this machine's policy files."""
        self._valkey = valkey
        self._machine = machine
        self._policies = policies
        self._audit_key = audit_key
        key = valkey.key
        self._keys = [key("machines"), key("generation"), key("audit-key")]

    def beat(self) -> Beat:
        """Say that this machine is there. Fails where nothing can be written: then nobody can warn us."""
        arguments = [self._machine, self._policies, secrets.token_hex(8), self._audit_key, int(GONE_S)]
        generation, audit_key, found = self._valkey.run(_BEAT, self._keys, arguments)
        signs = [each.decode().partition(" ") for each in found]
        return Beat(
            generation=generation.decode(),
            audit_key=audit_key,
            machines=len(signs),
            silent=sum(float(age_s) > SILENT_S for age_s, _, _ in signs),
            other_policies=sum(policies != self._policies for _, _, policies in signs),
        )

    def leave(self) -> None:
        """Say that this machine ends: its share goes to the others at once."""
        self._valkey.call("HDEL", self._keys[0], self._machine)
