"""The request headers that control the gateway itself."""

from __future__ import annotations

from typing import TypeVar, get_args

from gateway.core import Header, Mode
from gateway.errors import RequestError

_MODES: dict[bytes, Mode] = {mode.encode(): mode for mode in get_args(Mode)}
_Meaning = TypeVar("_Meaning")


def read_control_headers(headers: tuple[Header, ...]) -> tuple[Mode, bool]:
    """Return the mode that the client asks for, and whether its request may be kept.

    Raises RequestError for a value that is not allowed.
    """
    mode: Mode = "auto"
    may_harvest = True
    for name, value in headers:
        if name == b"x-stepdown-mode":
            mode = _look_up(name, value, _MODES)
        elif name == b"x-stepdown-harvest":
            may_harvest = _look_up(name, value, {b"on": True, b"off": False})
    return mode, may_harvest


def _look_up(name: bytes, value: bytes, meanings: dict[bytes, _Meaning]) -> _Meaning:
    try:
        return meanings[value.strip().lower()]
    except KeyError as exc:
        allowed = ", ".join(meaning.decode() for meaning in meanings)
        header = name.decode()
        raise RequestError(
            f"Invalid value for the header '{header}'. Supported values are: {allowed}.",
            param=header,
            code="invalid_value",
        ) from exc
