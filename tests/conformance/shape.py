"""Compares a value with a shape: the same fields, no others, of the given types."""

from __future__ import annotations

from typing import Any


def assert_shape(value: Any, shape: Any, where: str = "it") -> None:
    """Demand that `value` has `shape`: objects and lists of shapes, types, or the very value."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), f"{where} is {value!r}"
        odd = sorted(set(value) ^ set(shape))
        assert not odd, f"{where} lacks or adds {', '.join(odd)}"
        for name, wanted in shape.items():
            assert_shape(value[name], wanted, f"{where}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), f"{where} is {value!r}"
        assert len(value) == len(shape), f"{where} has {len(value)} items"
        for number, (item, wanted) in enumerate(zip(value, shape, strict=True)):
            assert_shape(item, wanted, f"{where}[{number}]")
    elif isinstance(shape, type | tuple):
        assert isinstance(value, shape), f"{where} is {value!r}"
        assert not isinstance(value, bool) or shape is bool, f"{where} is {value!r}"
    else:
        assert value == shape, f"{where} is {value!r} instead of {shape!r}"
