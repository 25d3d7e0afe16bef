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
from gateway.ipc.backoff import Backoff

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
    stop_grace_s: float = 10.0


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
            return
        if self._process is not None:
            self._note_death(self._process.returncode, now)
        if now >= self._next_start and not self.has_refused:
            self._start(now)

    def stop(self) -> None:
        """Ask the child to end, wait its grace, then kill it."""
        process, self._process = self._process, None
        if process is None:
            return
        if not end_process(process, self.plan.stop_grace_s):
            logger.warning("%s did not stop in %.0f s: killed", self.plan.name, self.plan.stop_grace_s)
        if process.stdin:
            process.stdin.close()

    def _note_death(self, code: int, now: float) -> None:
        self.has_refused = code == REFUSED and self.restarts == 0
        if not self.has_refused:
            logger.warning("%s ended with code %s; starting it again", self.plan.name, code)
        if now - self._started_at > HEALTHY_AFTER_S:
            self._backoff.reset()
        self._next_start = now + self._backoff.next_pause_s()
        if self._process is not None and self._process.stdin:
            self._process.stdin.close()
        self._process = None

    def _start(self, now: float) -> None:
        self._process = start_module(
            self.plan.module,
            self.plan.arguments,
            pass_fds=tuple(self.plan.inherited_fds),
            env={**os.environ, **self.plan.environment},
            # Ctrl-C in a terminal reaches the whole process group: only the parent must act on it.
            start_new_session=True,
        )
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
    children: Sequence[Child], should_stop: Callable[[], bool], tick_s: float = 0.05
) -> None:
    """Keep `children` alive until `should_stop` or until one refuses, then stop them in the given order."""
    try:
        while not should_stop() and not any(child.has_refused for child in children):
            for child in children:
                child.keep_alive(time.monotonic())
            time.sleep(tick_s)
    finally:
        for child in children:
            child.stop()


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
