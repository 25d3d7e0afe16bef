"""The home folder: one place for everything that outlives a process."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

from gateway.errors import ConfigError
from gateway.ipc.socket_path import socket_path

AUDIT_KEY_BYTES = 32


class Home:
    """The paths of one home folder. To name a path touches nothing; `make` makes the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_db = folder / "state.db"
        """SQLite: keys, tasks, standings, audits, spend."""
        self.harvest = folder / "harvest"
        """One SQLite file of rows per worker, see `worker_rows`."""
        self.registry = folder / "registry"
        """Published specialists: task, version."""
        self.models = folder / "models"
        """Base models: name, version."""
        self.learn = folder / "learn"
        """What a recipe keeps of a task from one version to the next."""
        self.metrics = folder / "metrics"
        """Sums of each worker since the last start; the supervisor empties it."""
        self.host_socket = socket_path(folder)
        self.counters = folder / "counters"
        """What the workers count together: limits and budgets. The supervisor makes it."""
        self.run_file = folder / "run.json"
        self.learner_progress = folder / "learner.json"
        self.audit_key = folder / "audit.key"
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
        if not os.access(self.folder, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigError(f"home: {self.folder} cannot be written by this user")


def read_audit_key(home: Home) -> bytes:
    """Return the key of the audit sampler, made at first use; every process and restart gets the same."""
    if not home.audit_key.exists():
        _name_old_key(home)
        _make_audit_key(home)
    return home.audit_key.read_bytes()


def _name_old_key(home: Home) -> None:
    """Keep the key of a home that an older stepdown made, and so its choice of audits."""
    with contextlib.suppress(FileNotFoundError):
        (home.folder / "coin.key").rename(home.audit_key)


def _make_audit_key(home: Home) -> None:
    scratch = home.folder / f"audit.{os.getpid()}.{time.monotonic_ns()}"
    scratch.write_bytes(secrets.token_bytes(AUDIT_KEY_BYTES))
    scratch.chmod(0o600)
    # Of several processes that start together one wins, and all read what it wrote.
    with contextlib.suppress(FileExistsError):
        os.link(scratch, home.audit_key)
    scratch.unlink()
