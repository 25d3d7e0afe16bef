"""The home folder: one place for everything that outlives a process."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import socket
import stat
import time
from pathlib import Path

from gateway.errors import ConfigError
from gateway.store.atomic_file import replace_file

logger = logging.getLogger(__name__)

AUDIT_KEY_BYTES = 32


class Home:
    """The paths of one home folder. To name a path touches nothing; `make` makes the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_db = folder / "state.db"
        """SQLite: keys, tasks, standings, audits, spend."""
        self.decisions_db = folder / "decisions.db"
        """SQLite: the record of each request."""
        self.harvest = folder / "harvest"
        """One SQLite file of rows per worker, see `worker_rows`."""
        self.registry = folder / "registry"
        """Published specialists: task, version."""
        self.models = folder / "models"
        """Base models: name, version."""
        self.learn = folder / "learn"
        """What a recipe keeps of a task from one version to the next."""
        self.counters = folder / "counters"
        """What the workers count together: limits and budgets. The supervisor makes it."""
        self.sockets = folder / "sockets"
        """For this user alone, even where the home itself is shared with a group."""
        self.host_socket = self.sockets / "host.sock"
        self.run_file = folder / "run.json"
        self.learner_progress = folder / "learner.json"
        self.retirements = folder / "retirements.json"
        """The days on which teachers retire models."""
        self.exports = folder / "exports.jsonl"
        """The files that were written from the harvest."""
        self.receipts = folder / "receipts"
        """What was forgotten, in hashes."""
        self.audit_key = folder / "audit.key"
        self.shared_state = folder / "shared.json"
        """How this machine stands with the others that share its state."""
        self.machine = folder / "machine"
        """The name of this machine among the others; a copy of the home has another one."""
        self.keys_mark = folder / "keys.made"
        """There, and empty, once the database holds keys: it must not vanish unnoticed."""
        self.lock = folder / "lock"
        """Held by the supervisor: one gateway per home."""
        self.learner_lock = folder / "learner.lock"
        """Held during one step of the learner."""

    def worker_rows(self, number: int) -> Path:
        """Return the file for the harvested rows of worker `number`."""
        return self.harvest / f"worker-{number}.db"

    def make(self) -> None:
        """Make the folder, for its owner only, unless it is there. Raises ConfigError."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"home: {self.folder} cannot be made: {exc.strerror}") from exc
        if not os.access(self.folder, os.R_OK | os.X_OK):
            raise ConfigError(f"home: {self.folder} cannot be read by this user")

    def make_for_gateway(self) -> None:
        """Make the folder, and what every process of a gateway needs in it. Raises ConfigError."""
        self.make()
        if not os.access(self.folder, os.W_OK):
            raise ConfigError(f"home: {self.folder} cannot be written by this user")
        try:
            self.sockets.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"home: {self.sockets} cannot be made: {exc.strerror}") from exc
        if not tighten_folder(self.folder):
            logger.warning("home: other users may read %s, which is not this user's to close", self.folder)
        read_audit_key(self)


def tighten_folder(folder: Path) -> bool:
    """Take the rights of others from `folder` and all in it; return whether `folder` is private now."""
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(OSError):
            mode = path.lstat().st_mode
            if mode & 0o077 and not stat.S_ISLNK(mode):
                path.chmod(stat.S_IMODE(mode) & 0o700)
    return not folder.stat().st_mode & 0o077


def read_audit_key(home: Home) -> bytes:
    """Return the key of the audit sampler, made at first use; every process and restart gets the same.

    Raises ConfigError if it cannot be made.
    """
    try:
        if not home.audit_key.exists():
            _name_old_key(home)
            _make_audit_key(home)
        return home.audit_key.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{home.audit_key}: cannot be made or read: {exc.strerror}") from exc


def replace_audit_key(home: Home, key: bytes) -> None:
    """Let every process choose audits by `key`, that of another machine. Raises OSError."""
    with replace_file(home.audit_key) as scratch:
        scratch.touch(mode=0o600)
        scratch.write_bytes(key)


def read_machine_name(home: Home) -> str:
    """Return the name of this machine among those that share its state, made at first use. Raises OSError."""
    if not home.machine.exists():
        with replace_file(home.machine) as scratch:
            scratch.write_text(secrets.token_hex(8))
    return home.machine.read_text().strip()


def read_place(home: Home) -> str:
    """Return what tells this home from a copy of it elsewhere, until the machine is restarted.

    Not its name: a copy has that, too.
    """
    boot = Path("/proc/sys/kernel/random/boot_id")
    found = home.folder.stat()
    parts = (socket.gethostname(), boot.read_text() if boot.exists() else "", found.st_dev, found.st_ino)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _name_old_key(home: Home) -> None:
    """Keep the key of a home that an older stepdown made, and so its choice of audits."""
    with contextlib.suppress(FileNotFoundError):
        (home.folder / "coin.key").rename(home.audit_key)


def _make_audit_key(home: Home) -> None:
    scratch = home.folder / f"audit.{os.getpid()}.{time.monotonic_ns()}"
    try:
        scratch.touch(mode=0o600)
        scratch.write_bytes(secrets.token_bytes(AUDIT_KEY_BYTES))
        # Of several processes that start together one wins, and all read what it wrote.
        with contextlib.suppress(FileExistsError):
            os.link(scratch, home.audit_key)
    finally:
        scratch.unlink(missing_ok=True)
