"""The same answer: a JSON value up to white space and order of keys, other text up to white space."""

from __future__ import annotations

from gateway.confidence.agreement import Measure, measure_loss, refuse_option

IS_GRADED = False


def create(option: str) -> Measure:
    """Return the measure. Raises ConfigError if there is an option."""
    refuse_option(option)
    return measure_loss
