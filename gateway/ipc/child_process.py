"""Child processes: started again when they die, and ended with their parent."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.errors import ConfigError
from gateway.ipc import heartbeat
from gateway.ipc.backoff import Backoff
from gateway.ipc.heartbeat import STILL_S, VARIABLE, Watch

logger = logging.getLogger(__name__)

FIRST_RESTART_S = 0.1
LONGEST_RESTART_S = 10.0
# A child that ran this long has recovered: after its next death the first pause is used again.
HEALTHY_AFTER_S = 10.0
ORPHAN_GRACE_S = 15.0
REFUSED = 2
"""Exit code for wrong configuration: another start would end the same way."""


class ChildPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The start of one child: a module of this package, its arguments, the sockets it inherits."""

    name: str
    module: str
    arguments: Sequence[str] = ()
    inherited_fds: Sequence[int] = ()
    environment: Mapping[str, str] = {}
    withheld: frozenset[str] = frozenset()
    """Variables of ours that it must not have: secrets that it does not need."""
    stop_grace_s: float = 10.0
    stops_last: bool = False
    """Whether the others use it until they have ended."""
    is_watched: bool = False
    """Whether it gives signs of life (`ipc.heartbeat`), and is replaced when they stay out."""
    has_loop: bool = False
    """Whether these come from an event loop that must never compute for long."""


class Child:
    """One child process, started again with a growing pause whenever it dies.

    The child's stdin is a pipe that only this process holds: when the parent dies, even
    by SIGKILL, the pipe closes and the child (see `exit_with_parent`) ends itself.
    """

    def __init__(self, plan: ChildPlan) -> None:
        self.plan = plan
        self.restarts = -1
        self.has_refused = False
        """Whether its first run ended with REFUSED. Later runs are retried: the file may be half written."""
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: Watch | None = None
        self._kill_at = 0.0
        self._started_at = 0.0
        self._backoff = Backoff(FIRST_RESTART_S, LONGEST_RESTART_S)
        self._next_start = 0.0

    @property
    def pid(self) -> int | None:
        """The running process, or None between two runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def keep_alive(self, now: float) -> None:
        """Start the child if it is not running and its pause is over; `now` is monotonic."""
        if self._process is not None and self._process.poll() is None:
            self._replace_if_dead(self._process, now)
            return
        if self._process is not None:
            self._note_death(self._process.returncode, now)
        if now >= self._next_start and not self.has_refused:
            self._start(now)

    def ask_to_end(self, now: float) -> None:
        """Ask the child to end; its grace begins."""
        self._kill_at = now + self.plan.stop_grace_s
        if self._process is not None:
            self._process.terminate()

    def has_ended(self, now: float, *, is_urgent: bool = False) -> bool:
        """Return whether the child has ended; kill it if its grace is over, or if `is_urgent`."""
        process = self._process
        if process is None:
            return True
        if process.poll() is None and (is_urgent or now >= self._kill_at):
            if not is_urgent:
                logger.warning("%s did not stop in %.0f s: killed", self.plan.name, self.plan.stop_grace_s)
            process.kill()
            process.wait()
        if process.poll() is None:
            return False
        self._forget()
        return True

    def stop(self) -> None:
        """Ask the child to end, wait its grace, then kill it."""
        stop_children([self])

    def _replace_if_dead(self, process: subprocess.Popen[bytes], now: float) -> None:
        if self._watch is None:
            return
        if self._watch.is_too_still(now):
            logger.error("%s has been still for %.0f s and is replaced", self.plan.name, STILL_S)
        elif self._watch.is_spinning:
            logger.error(
                "%s has computed for %.0f s in one step and is replaced",
                self.plan.name,
                heartbeat.SPINNING_CPU_S,
            )
        else:
            return
        process.kill()
        process.wait()

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin:
            self._process.stdin.close()
        self._process = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _note_death(self, code: int, now: float) -> None:
        self.has_refused = code == REFUSED and self.restarts == 0
        if not self.has_refused:
            logger.warning("%s ended with code %s; starting it again", self.plan.name, code)
        if now - self._started_at > HEALTHY_AFTER_S:
            self._backoff.reset()
        self._next_start = now + self._backoff.next_pause_s()
        self._forget()

    def _start(self, now: float) -> None:
        plan = self.plan
        environment = {**os.environ, **plan.environment}
        fds = [*plan.inherited_fds]
        ours = theirs = None
        if plan.is_watched:
            ours, theirs = os.pipe()
            fds.append(theirs)
            environment[VARIABLE] = str(theirs)
        self._process = start_module(
            plan.module,
            plan.arguments,
            pass_fds=tuple(fds),
            env={name: value for name, value in environment.items() if name not in plan.withheld},
            # Ctrl-C in a terminal reaches the whole process group: only the parent must act on it.
            start_new_session=True,
        )
        if ours is not None and theirs is not None:
            os.close(theirs)
            self._watch = Watch(self._process.pid, ours, has_loop=plan.has_loop)
        self._started_at = now
        self.restarts += 1


def start_module(module: str, arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start `python -m module` with this interpreter; its stdin is a pipe that this process holds.

    `options` are those of subprocess.Popen.
    """
    return subprocess.Popen([sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, **options)


def end_process(process: subprocess.Popen[Any], grace_s: float) -> bool:
    """Ask `process` to end and wait; return False if it had to be killed after `grace_s`."""
    process.terminate()
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def supervise_children(
    children: Sequence[Child],
    should_stop: Callable[[], bool],
    on_tick: Callable[[], None] = lambda: None,
    tick_s: float = 0.05,
) -> None:
    """Keep `children` alive until `should_stop`, or until one refuses; `on_tick` is called meanwhile."""
    while not should_stop() and not any(child.has_refused for child in children):
        for child in children:
            child.keep_alive(time.monotonic())
        on_tick()
        time.sleep(tick_s)


def stop_children(
    children: Sequence[Child],
    is_urgent: Callable[[], bool] = lambda: False,
    on_tick: Callable[[], None] = lambda: None,
    tick_s: float = 0.02,
) -> None:
    """End `children`, all at once, and then those that stop last; each has its grace.

    Once `is_urgent`, those that are left are killed. `on_tick` is called while they end.
    """
    for stops_last in (False, True):
        left = [child for child in children if child.plan.stops_last is stops_last]
        for child in left:
            child.ask_to_end(time.monotonic())
        while left := [one for one in left if not one.has_ended(time.monotonic(), is_urgent=is_urgent())]:
            on_tick()
            time.sleep(tick_s)


def run_child(main: Callable[[], None]) -> None:
    """Run `main` of a child process; wrong configuration ends it with a message and REFUSED."""
    try:
        main()
    except ConfigError as exc:
        sys.stderr.write(f"stepdown: {exc}\n")
        sys.exit(REFUSED)


def exit_with_parent() -> None:
    """End this process when its stdin closes: its parent is gone."""

    def wait_for_eof() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_GRACE_S)
        os._exit(1)

    threading.Thread(target=wait_for_eof, name="parent-watch", daemon=True).start()
