"""What the files of every plural folder share, whichever folder: they can take each other's place."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import msgspec
import pytest

import gateway
from gateway import catalog

# Formats hold no state, so there is nothing to create: they write.
ENTRIES = ("create", "write")


def plural_folders() -> list[str]:
    """Return the packages which lie inside a room and have a plural name."""
    rooms = [room.name for room in pkgutil.iter_modules(gateway.__path__, "gateway.") if room.ispkg]
    inner = [
        folder.name
        for room in rooms
        for folder in pkgutil.iter_modules(importlib.import_module(room).__path__, f"{room}.")
        if folder.ispkg
    ]
    return [name for name in inner if name.endswith("s")]


FOLDERS = plural_folders()
EXTENSIONS = [(folder, name) for folder in FOLDERS for name in catalog.names(folder)]


def entry(module: ModuleType) -> tuple[str, list[str]]:
    """Return the name and the parameters of what the composition root calls."""
    name = next(name for name in ENTRIES if hasattr(module, name))
    return name, list(inspect.signature(getattr(module, name)).parameters)


def test_the_folders_are_found() -> None:
    """Else the tests below would test nothing."""
    assert "gateway.harvest.formats" in FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_of_one_folder_are_called_alike(folder: str) -> None:
    """Each has one entry point, with the same parameters as its neighbours'."""
    entries = {name: entry(catalog.load(folder, name)) for name in catalog.names(folder)}

    assert len({str(each) for each in entries.values()}) == 1, entries


@pytest.mark.parametrize(("folder", "name"), EXTENSIONS)
def test_a_config_is_frozen_and_refuses_unknown_keys(folder: str, name: str) -> None:
    """A misspelt key must stop the start, in every extension."""
    config = getattr(catalog.load(folder, name), "Config", None)
    if config is None:
        return

    assert issubclass(config, msgspec.Struct)
    assert (config.__struct_config__.frozen, config.__struct_config__.forbid_unknown_fields) == (True, True)
