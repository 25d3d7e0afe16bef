"""A configuration as a TOML document of one dotted key a line, secrets left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec

from gateway.config.typed import SettingPath
from gateway.core import Secret

WIDTH = 80
MASKED = "***"
# The options of an extension are its own: what is called like a secret is taken for one.
_SECRET_NAME = re.compile(r"(.*_)?(key|token|secret|password|credential)s?", re.IGNORECASE)
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Setting(NamedTuple):
    """One setting: its dotted key, its value as JSON types (None: unset), and its origin.

    Of a list of tables `origins` has that of each value, a table each.
    """

    key: str
    value: object
    origin: str
    origins: tuple[Mapping[str, str], ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return it as JSON types."""
        shown = {"key": self.key, "value": self.value, "origin": self.origin}
        return {**shown, "origins": self.origins} if self.origins else shown


def list_settings(settings: msgspec.Struct, origins: Mapping[SettingPath, str]) -> Iterator[Setting]:
    """Yield every setting in the order of its declaration; no secret is in it.

    What no origin is known of is a default.
    """
    for path, value in _walk(settings, ()):
        shown = _mask(path, value)
        setting = Setting(_join(path), shown, _find_origin(path, origins))
        if is_table(setting):
            tables = cast(list[dict[str, object]], shown)
            setting = setting._replace(origins=tuple(_list_origins(path, tables, origins)))
        yield setting


def is_table(setting: Setting) -> bool:
    """Whether it is a list of tables, which TOML has behind everything else."""
    value = setting.value
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def format_tables(setting: Setting, *, with_origin: bool) -> str:
    """Return a list of tables as `[[name]]`, a key per line."""
    assert isinstance(setting.value, list)
    lines = []
    for table, origins in zip(setting.value, setting.origins, strict=True):
        lines += ["", f"[[{setting.key}]]"]
        for key, inner in table.items():
            line = f"{_join((key,))} = {_to_toml(inner)}"
            lines.append(_add_origin(line, origins[key]) if with_origin else line)
    return "\n".join(lines)


def format_setting(setting: Setting, *, with_origin: bool) -> str:
    """Return a line of TOML; unset and secret settings are comments, as is the origin."""
    is_value = setting.value is not None and setting.value != MASKED
    text = f"{setting.key} = {_to_toml(setting.value)}" if is_value else f"# {setting.key} is "
    if not is_value:
        text += "unset" if setting.value is None else f"set: {MASKED}"
    return _add_origin(text, setting.origin) if with_origin else text


def _add_origin(text: str, origin: str) -> str:
    comment = f"# {origin}"
    gap = max(1, 48 - len(text))
    is_short = len(text) + gap + len(comment) <= WIDTH
    return text + " " * gap + comment if is_short else f"{comment}:\n{text}"


def _find_origin(path: SettingPath, origins: Mapping[SettingPath, str]) -> str:
    ends = range(len(path), 0, -1)
    return next((origins[path[:end]] for end in ends if path[:end] in origins), "default")


def _list_origins(
    path: SettingPath, tables: Sequence[Mapping[str, object]], origins: Mapping[SettingPath, str]
) -> Iterator[dict[str, str]]:
    """Yield where each value of the list of tables at `path` comes from; a table in one counts as a value."""
    for number, table in enumerate(tables):
        place = (*path, number)
        written: dict[str, str] = {}
        for key, origin in origins.items():
            if key[: len(place)] == place:
                written.setdefault(str(key[len(place)]), origin)
        yield {key: written.get(key, "default") for key in table}


def _walk(value: object, path: SettingPath) -> Iterator[tuple[SettingPath, object]]:
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            inner = getattr(value, field.name)
            # In a table of many (prices) only what was set; in a section everything.
            if len(path) < 2 or inner is not None:
                yield from _walk(inner, (*path, field.encode_name))
    elif isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _walk(inner, (*path, str(key)))
    else:
        yield path, value


def _describe_table(value: msgspec.Struct) -> dict[str, object]:
    """Return what is no default in one table of a list of them, `[[teachers]]`, without its secrets."""
    fields = sorted(msgspec.structs.fields(value), key=lambda field: not field.required)
    shown = {field.encode_name: (field, getattr(value, field.name)) for field in fields}
    return {
        name: _mask((), inner)
        for name, (field, inner) in shown.items()
        if not isinstance(inner, Secret) and inner not in (field.default, _default_of(field))
    }


def _default_of(field: msgspec.structs.FieldInfo) -> object:
    return None if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _mask(path: SettingPath, value: object) -> object:
    if isinstance(value, Secret):
        return MASKED
    if isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        return [_describe_table(each) for each in value]
    if value is not None and len(path) > 2 and _SECRET_NAME.fullmatch(str(path[-1])):
        return MASKED
    if isinstance(value, str) and "://" in value and "@" in (host := urlsplit(value).netloc):
        return value.replace(host, f"{MASKED}@{host.rpartition('@')[2]}", 1)
    return msgspec.to_builtins(value)


def _join(path: SettingPath) -> str:
    return ".".join(str(step) if _BARE.fullmatch(str(step)) else json.dumps(str(step)) for step in path)


def _to_toml(value: Any) -> str:
    """Return a value in TOML's syntax, which is JSON's but for tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_join((key,))} = {_to_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_to_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
