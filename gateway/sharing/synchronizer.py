"""One pass after another, the state of this machine and that of the others become the same."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable

import msgspec

from gateway.sharing.audits import SharedAudits
from gateway.sharing.base import AwayError, Config
from gateway.sharing.contact import Contact, ContactReport
from gateway.sharing.fleet import BEAT_S, Fleet
from gateway.sharing.levels import Levels
from gateway.sharing.mirror import Mirror, SharedRows
from gateway.sharing.outgoing import Outgoing
from gateway.sharing.owners import SharedOwners
from gateway.sharing.valkey import Valkey
from gateway.store.database import Database
from gateway.store.shared_counters import Counters

logger = logging.getLogger(__name__)

TICK_S = 0.05
"""Between two looks for changes of our own; those of the others wake us."""
POLL_S = 1.0
"""Between two looks for changes of the others, should a message be lost."""
RETRY_S = 1.0
CLOCK_OFF_S = 10.0
_KEPT_CONTACT_S = 10.0
_CLOCK_STEP_S = 2.0
_LONG_AGO_S = 1e9
_GENERATION, _CONTACT = "generation", "contact"


class Synchronizer:
    """Exchanges the state of one machine with the others, in one thread.

    `report` is called when the state changes, `adopt_audit_key` with the key that all machines use.
    """

    def __init__(
        self,
        config: Config,
        database: Database,
        contact: Contact,
        counters: Counters,
        *,
        machine: str,
        place: str = "",
        policies: str,
        audit_key: bytes,
        adopt_audit_key: Callable[[bytes], None],
        report: Callable[[ContactReport], None],
    ) -> None:
        self._contact = contact
        self._adopt_audit_key = adopt_audit_key
        self._report_change = report
        self._valkey = Valkey(config)
        self._database = database
        self._outgoing = Outgoing(database)
        self._owners = SharedOwners(self._valkey)
        rows = SharedRows(self._valkey)
        self._channel = rows.channel
        self._mirror = Mirror(database, self._outgoing, rows)
        self._audits = SharedAudits(database, self._outgoing, self._valkey, machine)
        self._levels = Levels(self._valkey, counters, machine)
        self._fleet = Fleet(self._valkey, machine, policies, audit_key, place)
        self._wait: Callable[[float], bool] | None = None
        self._generation = ""
        self._is_clock_wrong = False
        self._beat_at = self._pull_at = self._kept_at = 0.0
        self._report = ContactReport(machine=machine, since=time.time())
        self._restore_contact()

    def run(self, should_stop: Callable[[], bool], sleep: Callable[[float], object] = time.sleep) -> None:
        """Exchange until `should_stop`; a fault is said once and tried again."""
        while not should_stop():
            try:
                self.step()
            except (AwayError, sqlite3.Error) as exc:
                self._note_away(str(exc))
                sleep(RETRY_S)

    def step(self) -> None:
        """Make one pass, and wait for the next message, or a tick. Raises AwayError and sqlite3.Error."""
        if self._wait is None:
            # Before anything is read: a change that comes after the reading is announced.
            self._wait = self._valkey.listen(self._channel)
            self._generation, self._beat_at, self._pull_at = "", 0.0, 0.0
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat(now)
        self._push()
        if self._wait(TICK_S) or now >= self._pull_at:
            self._pull_at = now + POLL_S
            self._mirror.pull()
            self._audits.pull()

    def leave(self) -> None:
        """Send what waits, if that is possible now, and say goodbye."""
        try:
            self._push()
            self._fleet.leave()
        except (AwayError, sqlite3.Error) as exc:
            logger.warning("shared state: this machine leaves without a word: %s", exc)
        self._valkey.close()

    def _push(self) -> None:
        self._mirror.push()
        self._owners.push(self._database, self._outgoing)
        self._audits.push()

    def _beat(self, now: float) -> None:
        beat = self._fleet.beat()
        if beat.generation != self._generation:
            self._start_over(beat.generation)
        # Every time: it may be another home's file that was put in the place of ours.
        self._adopt_audit_key(beat.audit_key)
        self._levels.refresh()
        self._contact.note(beat.machines, beat.silent)
        self._note_clock(beat.clock_ahead_s)
        self._beat_at = now + BEAT_S
        if now >= self._kept_at:
            self._kept_at = now + _KEPT_CONTACT_S
            self._outgoing.set_mark(_CONTACT, f"{time.time():.0f} {beat.machines}")
        self._note("connected", machines=beat.machines, other_policies=beat.other_policies)

    def _note_clock(self, ahead_s: float) -> None:
        """Say once that this machine's clock is wrong: days of budgets and ends of keys go by it."""
        is_wrong = abs(ahead_s) > CLOCK_OFF_S
        if is_wrong and not self._is_clock_wrong:
            logger.error(
                "shared state: this machine's clock is %.0f s %s; days of budgets and ends of keys go by it",
                abs(ahead_s),
                "ahead" if ahead_s > 0 else "behind",
            )
        self._is_clock_wrong = is_wrong

    def _start_over(self, generation: str) -> None:
        """Compare everything: the connection is new, or the store is another one than before."""
        had = self._outgoing.read_mark(_GENERATION)
        has_lost = self._mirror.compare()
        if has_lost or had not in ("", generation):
            logger.warning("shared state: it had lost what was in it; it gets it from the machines again")
            self._audits.send_again(time.time())
            self._owners.send_again(self._database)
        self._mirror.push()
        self._mirror.pull()
        self._audits.pull()
        self._outgoing.set_mark(_GENERATION, generation)
        self._generation = generation

    def _restore_contact(self) -> None:
        at, _, machines = self._outgoing.read_mark(_CONTACT).partition(" ")
        if at:
            age_s = time.time() - float(at)
            # A clock that was set back tells nothing: it may be a minute ago, or a month.
            self._contact.restore(age_s if age_s > -_CLOCK_STEP_S else _LONG_AGO_S, int(machines))

    def _note_away(self, why: str) -> None:
        self._wait = None
        self._contact.note_away()
        if self._report.state != "away":
            logger.error("shared state is away, this machine goes on alone: %s", why)
        self._note("away", why=why, machines=self._contact.machines)

    def _note(self, state: str, **facts: object) -> None:
        if state != self._report.state:
            facts["since"] = time.time()
            if state == "connected" and self._report.state == "away":
                logger.warning("shared state is back, and what waited has been sent")
            facts.setdefault("why", "")
        changed = msgspec.structs.replace(self._report, state=state, **facts)
        if changed != self._report:
            self._report = changed
            self._report_change(changed)
