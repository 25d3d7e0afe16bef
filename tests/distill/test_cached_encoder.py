from __future__ import annotations

import pytest

from gateway.distill.cached_encoder import CachedEncoder
from gateway.errors import SpecialistError
from tests.distill.conftest import ToyEncoder


def test_a_text_is_encoded_once(encoder: ToyEncoder) -> None:
    remembered = CachedEncoder(encoder)

    assert remembered.encode("lost card") is remembered.encode("lost card")
    assert encoder.asked == ["lost card"]


def test_the_least_recently_used_is_forgotten_first(encoder: ToyEncoder) -> None:
    remembered = CachedEncoder(encoder, most=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        remembered.encode(text)
    assert encoder.asked == ["a", "b", "c", "b"]


def test_a_refusal_passes(encoder: ToyEncoder) -> None:
    with pytest.raises(SpecialistError, match="input too long"):
        CachedEncoder(encoder).encode("word " * 50)


def test_it_goes_by_the_name_of_the_encoder_inside(encoder: ToyEncoder) -> None:
    remembered = CachedEncoder(encoder)
    assert (remembered.name, remembered.dimension) == (encoder.name, encoder.dimension)
