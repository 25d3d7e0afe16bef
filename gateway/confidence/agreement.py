"""Whether a draft and the teacher's answer say the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec

from gateway.config.plugins import load_plugin
from gateway.core import EXACT, Ending, normalize_text
from gateway.errors import ConfigError
from gateway.wire.tool_calls import CALL_BEGIN, ToolCall, parse_tool_calls, render_tool_calls

AGREEMENTS = "gateway.confidence.agreements"

Measure = Callable[[str, str], float]
"""Returns the loss, 0..1, of a draft (the second) where the teacher answered the first; 0 wherever they
agree exactly. A module in `agreements/` holds `create(option) -> Measure`, and IS_GRADED: whether a loss
may lie between 0 and 1."""

_LARGEST_EXACT = 2.0**53
"""Up to here a float holds every integer."""


def measure_loss(teacher: str, draft: str, ending: Ending = "whole", agreement: str = EXACT) -> float:
    """Return 0.0 if the client would have got the same from the draft as from the teacher, at most 1.0.

    A teacher's answer that was cut is compared with as much of the draft; a refused one, with
    whatever the draft says, is a loss. Tool calls always have to agree exactly: apps run them.
    Raises ConfigError for an unknown `agreement`; policies are checked when they are read.
    """
    if ending == "refused":
        return 1.0
    if ending == "cut":
        return 0.0 if canonical_text(draft).startswith(canonical_text(teacher)) else 1.0
    if teacher == draft or canonical_text(teacher) == canonical_text(draft):
        return 0.0
    if agreement == EXACT or CALL_BEGIN in teacher or CALL_BEGIN in draft:
        return 1.0
    return _load_measure(agreement)(teacher, draft)


@lru_cache(maxsize=64)
def is_graded(agreement: str) -> bool:
    """Return whether losses by `agreement` may lie between 0 and 1. Raises ConfigError if it is unknown."""
    return bool(load_plugin(AGREEMENTS, agreement.partition(":")[0]).IS_GRADED)


def refuse_option(option: str) -> None:
    """Raise ConfigError if `option`, what follows the colon in an agreement's name, is not empty."""
    if option:
        raise ConfigError(f"this agreement takes no option, but got {option!r}")


@lru_cache(maxsize=64)
def _load_measure(agreement: str) -> Measure:
    name, _, option = agreement.partition(":")
    measure: Measure = load_plugin(AGREEMENTS, name).create(option)
    return measure


def canonical_text(text: str) -> str:
    """Return `text` in a form such that answers that say the same are equal strings.

    In a JSON object or array, and in the arguments of a tool call, white space and the order of
    keys are dropped, and `1.0` becomes `1`. Any other text is NFC-normalized, and each run of white
    space becomes one space. Letter case and punctuation stay: they may matter to the app.
    """
    stripped = text.strip()
    try:
        if calls := parse_tool_calls(stripped):
            return render_tool_calls([_canonical_call(call) for call in calls])
        if stripped[:1] in ("{", "["):
            return _canonical_json(stripped)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        pass  # it only looked like JSON
    return " ".join(normalize_text(text).split())


def _canonical_call(call: ToolCall) -> ToolCall:
    arguments = _canonical_json(call.arguments_text)
    return ToolCall(call.name, msgspec.Raw(arguments.encode()))


def _canonical_json(text: str) -> str:
    value = _normalize(msgspec.json.decode(text))
    return msgspec.json.encode(value, order="deterministic").decode()


def _normalize(value: object) -> object:
    """Return `value` with whole floats as integers, and strings in NFC."""
    if isinstance(value, str):
        return normalize_text(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT:
        return int(value)
    if isinstance(value, list):
        return [_normalize(item) for item in value]
    if isinstance(value, dict):
        return {_normalize(key): _normalize(item) for key, item in value.items()}
    return value
