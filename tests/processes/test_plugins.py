"""The options of a plugin come from the settings; an unknown one is named with its place."""

from __future__ import annotations

from typing import cast

import pytest

from gateway.errors import ConfigError
from gateway.processes.assembly import create_classifier
from gateway.processes.building import create_recipe
from gateway.specialists.client.client import HostClient
from gateway.store.state import State


def test_an_unknown_option_of_a_classifier_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"^routing\.options\.embedding: unknown key 'x'; known: "):
        create_classifier("embedding", {"x": 1}, cast(State, None), cast(HostClient, None))


def test_an_unknown_option_of_a_recipe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"^learn\.options\.head: unknown key 'x'; known: "):
        create_recipe("head", {"x": 1})
