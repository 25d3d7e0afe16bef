"""Names in configuration become modules; any other name is refused with the known ones."""

from __future__ import annotations

import pytest

from gateway.config import plugins
from gateway.errors import ConfigError

FORMATS = "gateway.harvest.formats"


def test_names_are_the_files_of_the_folder() -> None:
    assert "openai" in plugins.list_plugins(FORMATS)


def test_a_name_loads_its_module() -> None:
    assert plugins.load_plugin(FORMATS, "openai").__name__ == f"{FORMATS}.openai"


@pytest.mark.parametrize("name", ["opnai", "", "../base", "openai.json", "__init__", "base"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown format .*; known: .*openai"):
        plugins.load_plugin(FORMATS, name)
