"""Where an export goes: a file or folder that is there whole, or not at all."""

from __future__ import annotations

import glob
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gateway.errors import ConfigError


@contextmanager
def open_file(out: Path | None) -> Iterator[BinaryIO]:
    """Give a stream; `out` appears, or is replaced, once the block ends without an exception.

    Standard output without `out`, and a pipe or a device, are written as they are. Raises ConfigError.
    """
    if out is None:
        yield sys.stdout.buffer
        return
    try:
        if out.exists() and not out.is_file():
            with out.open("wb") as stream:
                yield stream
            return
        # Behind a link it is the file that is replaced.
        target = out.resolve()
        with _stage(target) as scratch:
            with scratch.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            scratch.replace(target)
    except OSError as exc:
        raise ConfigError(f"--out {out}: {exc.strerror or exc}") from exc


@contextmanager
def open_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `folder` once the block ends without an exception.

    Raises ConfigError, also for a folder that holds something.
    """
    try:
        target = folder.resolve()
        if target.exists() and any(target.iterdir()):
            raise ConfigError(f"--dataset {folder}: not empty; a data set is never written over another")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _stage(target) as scratch:
            scratch.mkdir(mode=0o700)
            yield scratch
            # Takes the place of an empty folder, and of no other.
            scratch.rename(target)
    except OSError as exc:
        raise ConfigError(f"--dataset {folder}: {exc.strerror or exc}") from exc


@contextmanager
def _stage(target: Path) -> Iterator[Path]:
    """Give a path beside `target`, and delete what is left there then, and by exports that were killed."""
    prefix = f".{target.name}.unfinished-"
    for rest in target.parent.glob(f"{glob.escape(prefix)}*"):
        if not _is_running(rest.name.removeprefix(prefix)):
            _delete(rest)
    scratch = target.with_name(f"{prefix}{os.getpid()}")
    try:
        yield scratch
    finally:
        _delete(scratch)


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
