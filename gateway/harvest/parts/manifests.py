"""The numbered manifests of a storage: they are the table, and to create the next one is the commit.

The idea is that of Delta Lake's log: of several machines that want the same number one gets it, the others
look at what it did and take the next. No lock, no server, and a reader that knows number n needs to ask for
n + 1 alone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import msgspec

from gateway.errors import ConfigError, StepdownError
from gateway.harvest.parts.base import Manifest, Table, apply_manifest, describe_whole
from gateway.store.object_storage import Storage, require_exclusive

FOLDER = "manifests"
SETTING = "harvest.parts"
"""What names the storage."""
WHOLE_EVERY = 50
"""So a new reader reads at most so many, and older ones can go."""
KEPT_S = 86_400.0
"""Old manifests stay for those who were reading when they became old."""
LISTED_FOR_S = KEPT_S / 2
"""A reader that slept for longer asks for the list again: its next manifest may be gone."""
_MOST_ATTEMPTS = 100

_encode = msgspec.json.Encoder().encode
_manifest = msgspec.json.Decoder(Manifest)

Change = Callable[[Table], Manifest | None]
"""Returns the change to make to a table; None if nothing is to be done any more."""


class ManifestLog:
    """The table of one storage, as this process knows it. For one thread at a time; its methods may block."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.time) -> None:
        self.storage = storage
        self.table = Table()
        self._clock = clock
        self._listed_at = float("-inf")
        self._may_write = False

    def refresh(self) -> Table:
        """Take in the manifests that came since; return the table. Raises OSError if the storage fails."""
        if self._clock() - self._listed_at > LISTED_FOR_S:
            self._read_list()
        while (manifest := self._read(self.table.number + 1)) is not None:
            self.table = apply_manifest(self.table, manifest)
        return self.table

    def commit(self, change: Change) -> bool:
        """Make `change` to the newest table, whatever other machines do to it; False if it wants no more.

        Killed or failed at any point, it is made as a whole or not at all; `change` finds out which.
        """
        if not self._may_write:
            require_exclusive(self.storage, SETTING)
            self._may_write = True
        for _ in range(_MOST_ATTEMPTS):
            before = self.refresh()
            manifest = change(before)
            if manifest is None:
                return False
            after = apply_manifest(before, manifest)
            if after.number % WHOLE_EVERY == 0:
                manifest = describe_whole(before, manifest)
            if self.storage.create(_path_of(after.number), _encode(manifest)):
                self.table = after
                return True
        raise StepdownError(f"harvest.parts: {_MOST_ATTEMPTS} times another machine was quicker")

    def create_manifest(self, what: str) -> Manifest:
        """Return an empty change, to be filled by `replace`."""
        return Manifest(id=secrets.token_hex(8), at=self._clock(), what=what)

    def list_replaced(self) -> set[str]:
        """Return the paths of parts that counted once and count no more, as far as manifests still tell."""
        manifests = (self._read(number) for number in self._list_numbers())
        return {path for manifest in manifests if manifest for path in manifest.removes}

    def delete_old(self) -> int:
        """Delete the manifests that no reader needs any more; return how many."""
        newest_whole = self.table.number // WHOLE_EVERY * WHOLE_EVERY
        old = [number for number in self._list_numbers() if number <= newest_whole - WHOLE_EVERY]
        deleted = 0
        for number in sorted(old):
            manifest = self._read(number)
            if manifest is not None and manifest.at > self._clock() - KEPT_S:
                break
            self.storage.delete(_path_of(number))
            deleted += 1
        return deleted

    def _read_list(self) -> None:
        """Begin at the newest manifest that is whole, unless the table is newer."""
        now = self._clock()
        numbers = self._list_numbers()
        start = max((number for number in numbers if number % WHOLE_EVERY == 0), default=0)
        if start > self.table.number:
            manifest = self._read(start)
            if manifest is None or not manifest.is_whole:
                raise StepdownError(f"harvest.parts: manifest {start} is gone or not whole: read again")
            self.table = apply_manifest(Table(number=start - 1), manifest)
        elif numbers and not self.table.number and min(numbers) > 1:
            raise ConfigError("harvest.parts: the first manifests are gone: put a backup in their place")
        self._listed_at = now

    def _list_numbers(self) -> list[int]:
        names = (path.rpartition("/")[2].removesuffix(".json") for path in self.storage.list_files(FOLDER))
        return [int(name) for name in names if name.isdecimal()]

    def _read(self, number: int) -> Manifest | None:
        try:
            content = self.storage.read(_path_of(number))
        except FileNotFoundError:
            return None
        try:
            return _manifest.decode(content)
        except msgspec.MsgspecError as exc:
            raise ConfigError(f"harvest.parts: {_path_of(number)}: damaged ({exc})") from exc


def _path_of(number: int) -> str:
    return f"{FOLDER}/{number:012}.json"
