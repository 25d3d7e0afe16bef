"""Places that several machines may share files at: a folder, or whatever fsspec reaches, such as S3."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from gateway.errors import ConfigError
from gateway.store.durable_folder import sync_folder

_S3_PATIENCE = {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 1}}
"""Its client would wait five times for a minute for a storage that is frozen."""
_S3_ROUNDS = 2
"""s3fs begins again, five times as it comes, after that client has given up: a read took 300 s, now 80."""
_SECRETS = frozenset({"key", "secret", "token", "password", "account_key", "sas_token"})


class Storage(Protocol):
    """Files by their paths below one place. Every method may block, and raises OSError if the place fails."""

    def read(self, path: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError."""

    def create(self, path: str, content: bytes) -> bool:
        """Write a new file, whole or not at all; False if there is one already, whoever wrote it.

        Of several that create the same path at once, one gets True.
        """

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file here; it is durable, and there as a whole, on return."""

    def download(self, path: str, target: Path) -> None:
        """Copy a file to a new local one. Raises FileNotFoundError."""

    def delete(self, path: str) -> None:
        """Delete a file; none is no error."""

    def list_files(self, folder: str) -> list[str]:
        """Return the paths of all files below `folder`, in no order."""

    def modified_at(self, path: str) -> float:
        """Return when a file was written, in unix seconds. Raises FileNotFoundError."""

    def attach(self, connection: Any) -> None:
        """Enable DuckDB's new `connection` to read what `locate` names."""

    def locate(self, path: str) -> str:
        """Return the name by which DuckDB reads a file."""


class LocalFolder:
    """A Storage in a folder, which may be a mounted one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def read(self, path: str) -> bytes:
        """See Storage."""
        return (self._folder / path).read_bytes()

    def create(self, path: str, content: bytes) -> bool:
        """See Storage."""
        target, scratch = self._prepare(path)
        try:
            with scratch.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(scratch, target)
            except FileExistsError:
                return False
            sync_folder(target.parent)
            return True
        finally:
            scratch.unlink(missing_ok=True)

    def upload(self, source: Path, path: str) -> None:
        """See Storage."""
        target, scratch = self._prepare(path)
        try:
            with source.open("rb") as reading, scratch.open("xb") as writing:
                shutil.copyfileobj(reading, writing, 1 << 20)
                writing.flush()
                os.fsync(writing.fileno())
            scratch.replace(target)
            sync_folder(target.parent)
        finally:
            scratch.unlink(missing_ok=True)

    def download(self, path: str, target: Path) -> None:
        """See Storage."""
        shutil.copyfile(self._folder / path, target)

    def delete(self, path: str) -> None:
        """See Storage."""
        (self._folder / path).unlink(missing_ok=True)

    def list_files(self, folder: str) -> list[str]:
        """See Storage."""
        found = (path for path in (self._folder / folder).rglob("*") if path.is_file())
        return [path.relative_to(self._folder).as_posix() for path in found]

    def modified_at(self, path: str) -> float:
        """See Storage."""
        return (self._folder / path).stat().st_mtime

    def attach(self, connection: Any) -> None:
        """See Storage; nothing is to be done."""

    def locate(self, path: str) -> str:
        """See Storage."""
        return str(self._folder / path)

    def _prepare(self, path: str) -> tuple[Path, Path]:
        target = self._folder / path
        # What lies here is private: prompts, and what was learnt from them.
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return target, target.with_name(f".{target.name}.{secrets.token_hex(4)}")


class RemoteFolder:
    """A Storage on one of fsspec's file systems, such as S3."""

    def __init__(self, url: str, options: Mapping[str, Any], setting: str) -> None:
        """Raises ConfigError, naming `setting`, for a URL that none of the installed file systems knows."""
        try:
            from fsspec.core import url_to_fs

            # It names the source of the credentials with every connection.
            logging.getLogger("aiobotocore.credentials").setLevel(logging.WARNING)
            # A listing that was true a minute ago hides what another machine has written since.
            is_s3 = url.startswith("s3://")
            known = {"config_kwargs": _S3_PATIENCE} if is_s3 else {}
            self._files, self._folder = url_to_fs(url, use_listings_cache=False, **known | dict(options))
            if is_s3:
                self._files.retries = _S3_ROUNDS
        except (ImportError, ValueError, TypeError) as exc:
            raise ConfigError(
                f"{setting}: {url}: {exc}; for object storage: pip install 'stepdown[cluster]'"
            ) from exc

    def read(self, path: str) -> bytes:
        """See Storage."""
        with self._failing_as_files_do():
            return bytes(self._files.cat_file(self._name(path)))

    def create(self, path: str, content: bytes) -> bool:
        """See Storage."""
        try:
            with self._failing_as_files_do():
                self._files.pipe_file(self._name(path), content, mode="create")
        except OSError:
            # Refused because it is there, or failed, or done without our hearing of it: only a look tells.
            # Contents of two writers differ.
            return self.read(path) == content
        return True

    def upload(self, source: Path, path: str) -> None:
        """See Storage."""
        with self._failing_as_files_do():
            self._files.put_file(str(source), self._name(path))

    def download(self, path: str, target: Path) -> None:
        """See Storage."""
        with self._failing_as_files_do():
            self._files.get_file(self._name(path), str(target))

    def delete(self, path: str) -> None:
        """See Storage."""
        with suppress(FileNotFoundError), self._failing_as_files_do():
            self._files.rm_file(self._name(path))

    def list_files(self, folder: str) -> list[str]:
        """See Storage."""
        try:
            with self._failing_as_files_do():
                found = self._files.find(self._name(folder))
        except FileNotFoundError:
            return []
        # Some servers keep a mark in the place of a folder that has become empty.
        files = (name for name in found if name != self._name(folder))
        return [str(name).removeprefix(self._folder).lstrip("/") for name in files]

    def modified_at(self, path: str) -> float:
        """See Storage."""
        with self._failing_as_files_do():
            return float(self._files.modified(self._name(path)).timestamp())

    def attach(self, connection: Any) -> None:
        """See Storage."""
        connection.register_filesystem(self._files)

    def locate(self, path: str) -> str:
        """See Storage."""
        protocol = self._files.protocol if isinstance(self._files.protocol, str) else self._files.protocol[0]
        return f"{protocol}://{self._name(path).lstrip('/')}"

    @contextmanager
    def _failing_as_files_do(self) -> Iterator[None]:
        """Turn what the clients of object stores raise, each in its own way, into OSError."""
        try:
            yield
        except OSError:
            raise
        except Exception as exc:
            raise OSError(f"{type(exc).__name__}: {exc}") from exc

    def _name(self, path: str) -> str:
        return f"{self._folder.rstrip('/')}/{path}"


def open_storage(url: str, options: Mapping[str, Any], setting: str) -> Storage:
    """Return the storage at a folder's path or a URL. Raises ConfigError, which names `setting`."""
    if "://" not in url:
        return LocalFolder(Path(url))
    if url.startswith("file://"):
        return LocalFolder(Path(url.removeprefix("file://")))
    return RemoteFolder(url, options, setting)


def refuse_secrets(setting: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError for a secret among the options in a settings file, which people share."""
    if found := _SECRETS & options.keys():
        raise ValueError(
            f"{setting}: '{min(found)}' is a secret, which comes from the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
        )


def require_exclusive(storage: Storage, setting: str) -> None:
    """Raise ConfigError where two machines could create the same file, and the later would win."""
    path = f"probe-{secrets.token_hex(8)}"
    try:
        is_exclusive = storage.create(path, b"first") and not storage.create(path, b"second")
    finally:
        storage.delete(path)
    if not is_exclusive:
        raise ConfigError(
            f"{setting}: this storage overwrites a file that must not be there (it ignores If-None-Match), "
            "so one machine could undo what another did; use one with conditional writes"
        )
