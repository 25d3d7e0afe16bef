"""Paths of settings in the data of a settings file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.config.typed import SettingPath

_FILES: tuple[SettingPath, ...] = (
    ("home",),
    ("policies", "folder"),
    ("specialists", "encoder_options", "folder"),
)
"""The settings that name files."""
_STORAGES = (("harvest", "parts"), ("registry", "storage"))
_ENGINE_FILES = ("api_key_file", "ca_file", "adapters_folder")
_TEACHER_FILES = ("ca_file", "client_certificate", "client_key")


def list_file_paths(data: dict[str, Any]) -> Iterator[SettingPath]:
    """Yield the paths of the settings that name files or folders."""
    yield from _FILES
    # An address of object storage is no path.
    for section, key in _STORAGES:
        if "://" not in str(data.get(section, {}).get(key, "://")):
            yield (section, key)
    places: list[SettingPath] = [("teachers", number) for number in range(len(data.get("teachers", ())))]
    for place in (("upstream",), *places):
        yield from ((*place, name) for name in _TEACHER_FILES)
    for name in data.get("specialists", {}).get("engines", {}):
        yield from (("specialists", "engines", name, key) for key in _ENGINE_FILES)


def list_leaves(table: dict[str, Any], above: SettingPath = ()) -> Iterator[SettingPath]:
    """Yield the path of every value; a table without any is a value itself, as is a list of tables."""
    for key, value in table.items():
        path = (*above, key)
        if isinstance(value, dict) and value:
            yield from list_leaves(value, path)
            continue
        yield path
        for number, each in enumerate(value if isinstance(value, list) else ()):
            if isinstance(each, dict):
                yield from list_leaves(each, (*path, number))
