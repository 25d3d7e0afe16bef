"""A TOML file in which errors and values can be found again by line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.config.typed import SettingPath
from gateway.errors import ConfigError

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = re.compile(rf"\s*(?P<header>\[{{0,2}})\s*(?P<name>{_NAME}(?:\s*\.\s*{_NAME})*)\s*(?P<end>[=\]])")


class TomlFile(msgspec.Struct, frozen=True):
    """A file that was read: its name as it was given, its text, its data."""

    name: str
    text: str
    data: dict[str, Any]

    def locate(self, path: SettingPath) -> tuple[int, int]:
        """Return line and column of the longest part of `path` that is there (tomllib keeps no places)."""
        table: SettingPath = ()
        counts: dict[SettingPath, int] = {}
        best, place = 0, (1, 1)
        for number, line in enumerate(self.text.splitlines(), start=1):
            found = _DOTTED.match(line)
            if not found:
                continue
            names = tuple(name.strip("\"'") for name in re.findall(_NAME, found["name"]))
            table = _enter_table(names, found["header"], counts) if found["header"] else table
            here = table if found["header"] else (*table, *names)
            length = min(len(here), len(path))
            if here[:length] == path[:length] and length > best:
                best, place = length, (number, found.start("name") + 1)
        return place

    def anchor_path(self, path: SettingPath) -> None:
        """Make the file path at `path`, if there is a relative one, relative to this file's folder."""
        table: Any = self.data
        for step in path[:-1]:
            if isinstance(table, list) and isinstance(step, int):
                table = table[step]
            else:
                table = table.get(step) if isinstance(table, dict) else None
        value = table.get(path[-1]) if isinstance(table, dict) else None
        # An empty one, or one of another type, is refused elsewhere.
        if isinstance(value, str) and value and not value.startswith("~"):
            table[path[-1]] = str(Path(self.name).parent / value)


def _enter_table(names: Sequence[str], header: str, counts: dict[SettingPath, int]) -> SettingPath:
    """Return the path of the table that a header opens; `counts` has the tables of each list so far."""
    path: SettingPath = ()
    for number, name in enumerate(names, start=1):
        path = (*path, name)
        if header == "[[" and number == len(names):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def read_toml(path: Path) -> TomlFile:
    """Return the file. Raises ConfigError, with line and column where it is not TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}") from exc
    try:
        return TomlFile(str(path), text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as exc:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(exc))
        # No place means "at end of document".
        lines = text.split("\n")
        where = f"{place[1]}:{place[2]}" if place else f"{len(lines)}:{len(lines[-1]) + 1}"
        raise ConfigError(f"{path}:{where} not TOML: {exc}") from exc
