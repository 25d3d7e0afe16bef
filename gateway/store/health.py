"""Whether the files of a home are whole: checked before anything is started, and by `stepdown doctor`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from gateway.errors import ConfigError
from gateway.store.database import check_database
from gateway.store.home import AUDIT_KEY_BYTES, Home


def check_home(home: Home) -> None:
    """Raise ConfigError, in one line, for the first file that is damaged, empty, lost or not readable."""
    for fault in find_faults(home):
        raise ConfigError(fault)


def find_faults(home: Home) -> Iterator[str]:
    """Yield a line for each file of `home` with which a start would fail; makes and changes nothing."""
    checks: list[Callable[[], None]] = [
        lambda: check_not_lost(home),
        lambda: check_database(home.state_db),
        lambda: check_database(home.decisions_db),
        lambda: _check_audit_key(home),
    ]
    for path in sorted(home.harvest.glob("worker-*.db")):
        checks.append(lambda path=path: check_database(path))  # type: ignore[misc]
    for check in checks:
        try:
            check()
        except ConfigError as exc:
            yield str(exc)
        except OSError as exc:
            yield f"{exc.filename or home.folder}: {exc.strerror}"


def mark_keys_made(home: Home) -> None:
    """Note, beside the database, that it holds keys: with an empty one every client would be refused."""
    # A full disk takes a file without content nearly always; where not, the next command notes it.
    with contextlib.suppress(OSError):
        home.keys_mark.touch(mode=0o600)


def check_not_lost(home: Home) -> None:
    """Raise ConfigError if the home had keys and its database is gone or empty."""
    with contextlib.suppress(FileNotFoundError):
        if home.state_db.stat().st_size:
            return
    if home.keys_mark.exists():
        raise ConfigError(
            f"{home.state_db}: gone or empty, though it held keys: put a backup in its place, or delete "
            f"{home.keys_mark} to begin without keys, limits and spending"
        )


def _check_audit_key(home: Home) -> None:
    if not home.audit_key.exists():
        return
    size = len(home.audit_key.read_bytes())
    if size != AUDIT_KEY_BYTES:
        raise ConfigError(
            f"{home.audit_key}: {size} bytes instead of {AUDIT_KEY_BYTES}: put a backup in its place, or "
            "delete it; then other requests are audited than before"
        )
