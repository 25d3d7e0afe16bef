"""A policy can name only the encoder that runs."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.policy.encoders import check_encoders, encoder_models
from gateway.policy.schema import Policy


def test_the_encoder_of_the_host_may_be_named() -> None:
    check_encoders([Policy(name="a"), Policy(name="b", embed="minilm")], "minilm")


def test_another_encoder_stops_the_start() -> None:
    with pytest.raises(ConfigError, match=r"policy 'b': embed: unknown encoder 'ada'.*runs 'minilm'"):
        check_encoders([Policy(name="a"), Policy(name="b", embed="ada")], "minilm")


def test_only_our_own_names_without_wildcards_are_models() -> None:
    policies = [
        Policy(name="a", models=("stepdown/x",)),
        Policy(name="b", models=("stepdown/minilm", "stepdown/*", "text-embedding-3-small"), embed="minilm"),
    ]

    assert encoder_models(policies) == {"stepdown/minilm"}
