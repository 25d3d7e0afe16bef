"""Which machine learns a task: one at a time, with a token that its publications must show."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from gateway.sharing.base import AwayError
from gateway.sharing.valkey import Valkey

logger = logging.getLogger(__name__)

TERM_S = 30.0
RENEW_S = TERM_S / 3
TRY_AGAIN_S = 10.0
"""Between two attempts to become the learner of a task that another machine learns."""
_TAKE_OVER = """
local token = redis.call('INCR', KEYS[2]) .. ' ' .. ARGV[1]
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
return token
"""
_RUN = f"if redis.call('EXISTS', KEYS[1]) == 1 then return false end{_TAKE_OVER}"
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RESIGN = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Election:
    """The tasks that this process learns for all machines; safe for any number of threads.

    A term ends here before it ends in Valkey: who was elected next has begun no earlier than that. A
    training outlives the term of a machine that was cut off; what it publishes is refused, by its token.
    """

    def __init__(self, valkey: Valkey, machine: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._valkey = valkey
        # Of this process alone: a machine that was started again must be elected again.
        self._name = f"{machine} {secrets.token_hex(4)}"
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[str, str] = {}
        self._ends: dict[str, float] = {}
        self._try_at: dict[str, float] = {}

    def start(self) -> None:
        """Renew the terms from now on, in a thread: a training takes longer than a term."""
        threading.Thread(target=self._keep_renewing, name="learner terms", daemon=True).start()

    def is_ours(self, task: str) -> bool:
        """Whether this process learns `task`; runs for it if no other does. May block for half a second."""
        with self._lock:
            now = self._clock()
            if self._ends.get(task, 0.0) > now:
                return True
            if now < self._try_at.get(task, 0.0):
                return False
            self._try_at[task] = now + TRY_AGAIN_S
            with contextlib.suppress(AwayError):
                token = self._stand(_RUN, task)
                if token:
                    logger.info("this machine learns %s for all", task)
                    self._tokens[task], self._ends[task] = token.decode(), now + TERM_S
            return self._ends.get(task, 0.0) > now

    def take_over(self, task: str) -> None:
        """Learn `task` from now on, whichever process did: an operator asks for it. Raises AwayError.

        What that process is at work on is refused, and it stands for election again.
        """
        with self._lock:
            now = self._clock()
            self._tokens[task] = self._stand(_TAKE_OVER, task).decode()
            self._ends[task] = now + TERM_S

    def key(self, task: str) -> str:
        """Return the key that holds the token of the machine that learns `task`."""
        return self._valkey.key("learner", task)

    def token(self, task: str) -> str:
        """Return the token of this process for `task`; one that cannot be right without a term."""
        return self._tokens.get(task, "none")

    def renew(self) -> None:
        """Prolong every term once."""
        with self._lock:
            for task, token in list(self._tokens.items()):
                now = self._clock()
                with contextlib.suppress(AwayError):
                    if self._valkey.run(_RENEW, [self.key(task)], [token, int(TERM_S * 1000)]):
                        self._ends[task] = now + TERM_S
                        continue
                    logger.warning("another machine learns %s now", task)
                    del self._tokens[task], self._ends[task]

    def resign(self) -> None:
        """Let other machines learn at once."""
        with self._lock, contextlib.suppress(AwayError):
            for task, token in self._tokens.items():
                self._valkey.run(_RESIGN, [self.key(task)], [token])
            self._tokens, self._ends = {}, {}

    def _stand(self, script: str, task: str) -> Any:
        keys = [self.key(task), self._valkey.key("fence")]
        return self._valkey.run(script, keys, [self._name, int(TERM_S * 1000)])

    def _keep_renewing(self) -> None:
        while True:
            time.sleep(RENEW_S)
            self.renew()
