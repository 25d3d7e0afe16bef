"""A circuit breaker: whether a teacher is well, judged by the answers it gives anyway."""

from __future__ import annotations

import time
from collections.abc import Callable

FAILURES_IN_A_ROW = 5
# In a window, half of the answers; below so many failures that would be chance: of a teacher with 10 %
# errors, ten among the first twenty answers come once in 100,000 windows.
FAILURES_IN_WINDOW = 10
WINDOW_S = 10.0
FIRST_REST_S = 1.0
# A teacher that is well again is found so by its next check and the next request.
LONGEST_REST_S = 4.0
# A teacher that asks for a minute is looked at sooner, so that one that is well is back within 10 s. One that
# meant it costs a check and one request, which another teacher then answers.
LONGEST_ASKED_REST_S = 8.0
TRIAL_EVERY_S = 2.0


class Circuit:
    """Closed while the teacher is well; open while it is not, for calls that have another teacher.

    Open, it rests, is checked, is half open for one request in TRIAL_EVERY_S, and closes with the first
    answer to a request that was begun after it opened. A success costs two additions and no clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_open = False
        self.openings = 0
        """How often it has opened. A call is judged by what this was when the call began."""
        self._clock = clock
        self._in_a_row = self._seen = self._failed = self._cut_in_a_row = 0
        self._window_at = self._next_check_at = self._next_trial_at = float("-inf")
        self._is_half_open = False
        self._rest_s = FIRST_REST_S

    @property
    def state(self) -> str:
        """Return "closed", "open" or "half open"."""
        if not self.is_open:
            return "closed"
        return "half open" if self._is_half_open else "open"

    def note_success(self, openings: int) -> None:
        """Note an answer; `openings` is that of the call's beginning."""
        self._in_a_row = 0
        self._seen += 1
        if self.is_open and openings == self.openings:
            self.is_open = self._is_half_open = False
            self._window_at = float("-inf")

    def note_failure(self, openings: int, asked_s: float = 0.0) -> None:
        """Note a failure; `asked_s` is how long the teacher wants to be left alone."""
        now = self._clock()
        if self.is_open:
            if openings == self.openings:
                self._rest(now, min(2 * self._rest_s, LONGEST_REST_S), asked_s)
            return
        if now - self._window_at > WINDOW_S:
            self._window_at, self._seen, self._failed = now, 0, 0
        self._seen += 1
        self._failed += 1
        self._in_a_row += 1
        is_mostly_failing = self._failed >= FAILURES_IN_WINDOW and 2 * self._failed >= self._seen
        if is_mostly_failing or self._in_a_row >= FAILURES_IN_A_ROW:
            self.trip()
            self._rest(now, FIRST_REST_S, asked_s)

    def note_end(self, *, is_whole: bool) -> None:
        """Note how the body of an answer ended, whose head was a success.

        Once so many in a row were cut, a single one is enough until one is whole: a trial that is cut closes
        nothing for long.
        """
        if is_whole:
            self._cut_in_a_row = 0
            return
        self._cut_in_a_row += 1
        if self._cut_in_a_row >= FAILURES_IN_A_ROW and not self.is_open:
            is_first = self._cut_in_a_row == FAILURES_IN_A_ROW
            rest_s = FIRST_REST_S if is_first else min(2 * self._rest_s, LONGEST_REST_S)
            self.trip()
            self._rest(self._clock(), rest_s, 0.0)

    def trip(self) -> None:
        """Open, whatever was counted: it is known that the teacher does not answer."""
        if not self.is_open:
            self.is_open = True
            self.openings += 1
            self._rest(self._clock(), FIRST_REST_S, 0.0)
        elif self._is_half_open:
            self.note_check(is_well=False)

    def begin_check(self) -> bool:
        """Return whether the teacher is to be checked now; then nothing else checks it for a while."""
        now = self._clock()
        if not self.is_open or self._is_half_open or now < self._next_check_at:
            return False
        self._next_check_at = now + LONGEST_REST_S
        return True

    def note_check(self, *, is_well: bool) -> None:
        """Note how a check ended: half open, or another rest."""
        if is_well:
            self._is_half_open = self.is_open
        else:
            self._rest(self._clock(), min(2 * self._rest_s, LONGEST_REST_S), 0.0)

    def begin_trial(self) -> bool:
        """Return whether a request may go to the teacher although the circuit is not closed."""
        now = self._clock()
        if not self._is_half_open or now < self._next_trial_at:
            return False
        self._next_trial_at = now + TRIAL_EVERY_S
        return True

    def _rest(self, now: float, rest_s: float, asked_s: float) -> None:
        self._is_half_open = False
        self._rest_s = rest_s
        self._next_check_at = now + max(rest_s, min(asked_s, LONGEST_ASKED_REST_S))
