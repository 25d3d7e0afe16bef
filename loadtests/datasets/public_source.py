"""The public source of each data set, and the cache folder that its files are fetched into."""

from __future__ import annotations

import hashlib
import os
import tomllib
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import msgspec

HOST = "https://raw.githubusercontent.com"
_TIMEOUT_S = 60
_MAX_BYTES = 64 << 20
"""Of one file; the largest has 2.5 MB."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder of a GitHub repository at one commit; `files` maps a path in it to the file's sha256."""

    repository: str
    commit: str
    folder: str
    license: str
    files: Mapping[str, str]


def read_sources() -> dict[str, Source]:
    """Return the source of every data set by the set's name."""
    pins = tomllib.loads(Path(__file__).with_name("sources.toml").read_text(encoding="utf-8"))
    return msgspec.convert(pins, dict[str, Source])


def cache_folder(name: str) -> Path:
    """Return the folder of one data set, below XDG_CACHE_HOME or ~/.cache; it need not exist."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "stepdown" / "datasets" / name


def find_cached(name: str) -> Path:
    """Return the folder of a fetched data set.

    Raises SystemExit with the command that fetches it where a file is absent or not the pinned one.
    """
    sources = read_sources()
    if name not in sources:
        raise SystemExit(f"unknown data {name}; known: {', '.join(sources)}, or the path of a folder or file")
    folder = cache_folder(name)
    if not all(_is_pinned(folder / path, pinned) for path, pinned in sources[name].files.items()):
        raise SystemExit(
            f"{name} is not in {folder} as pinned; run `python -m loadtests.datasets fetch {name}`"
        )
    return folder


def fetch_files(name: str, source: Source, host: str = HOST) -> Path:
    """Download what the cache lacks or has with other content, and return the folder.

    A file is kept only if its sha256 is the pinned one. Raises SystemExit naming the URL otherwise,
    or if it cannot be downloaded; files that came before it stay.
    """
    folder = cache_folder(name)
    for path, pinned in source.files.items():
        place = folder / path
        if _is_pinned(place, pinned):
            continue
        url = f"{host}/{source.repository}/{source.commit}/{source.folder}/{path}"
        content = _download(url)
        if (found := _sha256(content)) != pinned:
            raise SystemExit(f"{url}: sha256 {found} instead of {pinned}; the file is not kept")
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f"{place.name}.new")
        new.write_bytes(content)
        new.replace(place)
    return folder


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            return bytes(response.read(_MAX_BYTES))
    except (OSError, HTTPException) as exc:
        raise SystemExit(f"{url}: {exc}") from exc


def _is_pinned(place: Path, sha256: str) -> bool:
    return place.is_file() and _sha256(place.read_bytes()) == sha256


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
