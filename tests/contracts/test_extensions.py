"""The modules of one plural folder can replace each other, whichever folder it is."""

from __future__ import annotations

import inspect
from types import ModuleType

import msgspec
import pytest

from gateway.config import plugins
from tests.test_architecture import PLURALS

# Formats, shapes, sources and signals hold no state, so there is nothing to create.
ENTRIES = ("create", "write", "fetch", "measure", "read_record")

FOLDERS = [f"gateway.{folder.replace('/', '.')}" for folder in PLURALS if folder != "cli"]
EXTENSIONS = [(folder, name) for folder in FOLDERS for name in plugins.list_plugins(folder)]


def entry(module: ModuleType) -> tuple[str, list[str]]:
    """Return the name and the parameters of the function that the composition root calls."""
    name = next(name for name in ENTRIES if hasattr(module, name))
    return name, list(inspect.signature(getattr(module, name)).parameters)


def test_the_folders_are_found() -> None:
    """Otherwise the tests below would test nothing."""
    assert "gateway.harvest.formats" in FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_of_one_folder_are_called_alike(folder: str) -> None:
    """Each has one entry point, with the same parameters as its neighbors'."""
    entries = {name: entry(plugins.load_plugin(folder, name)) for name in plugins.list_plugins(folder)}

    assert len({str(each) for each in entries.values()}) == 1, entries


@pytest.mark.parametrize(("folder", "name"), EXTENSIONS)
def test_a_config_is_frozen_and_refuses_unknown_keys(folder: str, name: str) -> None:
    """A misspelled key must stop the start, in every extension."""
    config = getattr(plugins.load_plugin(folder, name), "Config", None)
    if config is None:
        return

    assert issubclass(config, msgspec.Struct)
    assert (config.__struct_config__.frozen, config.__struct_config__.forbid_unknown_fields) == (True, True)
