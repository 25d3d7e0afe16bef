"""Typed configuration from parsed files; errors name the file, the place and what was allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from gateway.core import Secret
from gateway.errors import ConfigError

T = TypeVar("T")
SettingPath = tuple[str | int, ...]
Locate = Callable[[SettingPath], tuple[int, int]]
"""Returns line and column, from 1, of the deepest part of a path that the file holds."""

_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


def build_config(kind: type[T], data: object, file: str, locate: Locate | None = None) -> T:
    """Return `data` as a `kind`. Raises ConfigError with file, line, column, key and what was allowed."""
    try:
        return msgspec.convert(data, kind, dec_hook=_refuse_secret)
    except msgspec.ValidationError as exc:
        path, words = _explain(str(exc), kind, data)
        line, column = locate(path) if locate else (0, 0)
        place = f"{file}:{line}:{column}" if locate else f"{file}:"
        raise ConfigError(f"{place} {words}") from exc


def _explain(message: str, kind: Any, data: Any) -> tuple[SettingPath, str]:
    found = _AT.match(message)
    what, steps = (found["what"], found["path"] or "") if found else (message, "")
    path, innermost = _follow(steps, kind, data)
    if unknown := _UNKNOWN.fullmatch(what):
        inside = f" in [{_join_keys(path)}]" if path else ""
        return (*path, unknown[1]), f"unknown key '{unknown[1]}'{inside}; known: {_known_keys(innermost)}"
    place = f"{_join_keys(path)}: " if path else ""
    words = list(dict.fromkeys(_list_words(innermost)))
    return path, place + what[:1].lower() + what[1:] + (f"; known: {', '.join(words)}" if words else "")


def _follow(steps: str, kind: Any, data: Any) -> tuple[SettingPath, Any]:
    """Return the keys of msgspec's path through `data`, and the type at its end."""
    path: SettingPath = ()
    for name, index in _STEP.findall(steps):
        inner = _item_type(kind, is_table=index == "...") if index else _field_type(kind, name)
        step = _find_refused(data, inner) if index == "..." else (name or int(index))
        data, kind, path = data[step], inner, (*path, step)
    return path, kind


def _find_refused(table: dict[str, Any], kind: Any) -> str:
    """Return the key of the value that is not a `kind`: msgspec's path says only `[...]`."""
    for key, value in table.items():
        try:
            msgspec.convert(value, kind, dec_hook=_refuse_secret)
        except msgspec.ValidationError:
            return key
    raise AssertionError("msgspec refused a table but accepts its values")


def _item_type(kind: Any, *, is_table: bool) -> Any:
    """Return the type of what a list or table of type `kind` holds; a union has one of each at most."""
    wanted = (dict,) if is_table else (tuple, list)
    found = next(each for each in _list_members(kind) if get_origin(each) in wanted)
    return get_args(found)[-1 if is_table else 0]


def _list_words(kind: Any) -> Iterator[str]:
    """Yield the words that may be written as a `kind`, by themselves or in a list."""
    for member in _list_members(kind):
        if get_origin(member) is Literal:
            yield from map(str, get_args(member))
        elif get_origin(member) in (tuple, list):
            yield from _list_words(get_args(member)[0])


def _list_members(kind: Any) -> Iterator[Any]:
    """Yield the types of a union; of any other type, itself."""
    if get_origin(kind) in (Union, UnionType):
        for each in get_args(kind):
            yield from _list_members(each)
    elif get_origin(kind) is Annotated:
        yield from _list_members(get_args(kind)[0])
    else:
        yield kind


def _field_type(kind: Any, name: str) -> Any:
    return next(field.type for field in msgspec.structs.fields(kind) if field.encode_name == name)


def _known_keys(kind: Any) -> str:
    return ", ".join(
        field.encode_name for field in msgspec.structs.fields(kind) if not _is_secret(field.type)
    )


def _is_secret(kind: Any) -> bool:
    return kind is Secret or Secret in get_args(kind)


def _join_keys(path: SettingPath) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _refuse_secret(kind: type, value: object) -> object:
    del value
    if kind is Secret:
        raise ValueError("a secret comes from the environment only, never from a file")
    raise NotImplementedError(kind)
