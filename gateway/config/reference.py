"""The keys of a configuration, read from its Structs: as Markdown, and as a JSON Schema."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from gateway.core import Secret

_Struct = type[msgspec.Struct]
_WIDTH = 100
_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >=", "max_length": "length <="}


class Key(NamedTuple):
    """One key of a Struct, as its documentation shows it."""

    name: str
    kind: str
    default: str
    text: str


def describe_struct(struct: _Struct) -> str:
    """Return the docstring of a Struct, on one line."""
    return _one_line(inspect.getdoc(struct) or "")


def list_keys(struct: _Struct) -> Iterator[Key]:
    """Yield the keys of a Struct without secrets and without tables, which are Structs of their own."""
    texts = _read_texts(struct)
    for field in msgspec.structs.fields(struct):
        if not (_is_secret(field.type) or find_struct(field.type)):
            yield Key(
                field.encode_name, _name_kind(field.type), _show_default(field), texts.get(field.name, "")
            )


def find_struct(kind: Any) -> _Struct | None:
    """Return `kind` if it is a Struct."""
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def write_text(text: str, indent: str = "") -> str:
    """Return `text` in lines, those after the first behind `indent`."""
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def write_keys(keys: list[Key]) -> str:
    """Return a Markdown list of keys."""
    lines = []
    for key in keys:
        default = f", default `{key.default}`" if key.default else ", required"
        text = f"- `{key.name}`: {key.kind}{default}." + (f" {key.text}" if key.text else "")
        lines.append(write_text(text, "  "))
    return "\n".join(lines)


def create_schema(struct: _Struct, title: str) -> str:
    """Return the JSON Schema of a file that holds a `struct`, with what the code says of each key."""
    # The only type of ours is Secret, and no file holds one.
    schema = msgspec.json.schema(struct, schema_hook=lambda _: {"type": "string"})
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}
    for found in sorted(_find_structs(struct, set()), key=lambda each: each.__qualname__):
        name = next(name for name in _component_names(found) if name in schema["$defs"])
        properties = schema["$defs"][name]["properties"]
        texts = _read_texts(found)
        for field in msgspec.structs.fields(found):
            if _is_secret(field.type):
                del properties[field.encode_name]
            elif text := texts.get(field.name):
                properties[field.encode_name]["description"] = text
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _component_names(struct: _Struct) -> Iterator[str]:
    # msgspec names two Structs of one name by their modules.
    yield f"{struct.__module__}.{struct.__qualname__}".replace(".", "_")
    yield struct.__name__


def _find_structs(kind: Any, seen: set[_Struct]) -> set[_Struct]:
    if (struct := find_struct(kind)) and struct not in seen:
        seen.add(struct)
        for field in msgspec.structs.fields(struct):
            _find_structs(field.type, seen)
    for inner in get_args(kind):
        _find_structs(inner, seen)
    return seen


def _read_texts(struct: _Struct) -> dict[str, str]:
    """Return what stands below each field in the source, of inherited ones too."""
    texts: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base is msgspec.Struct or not issubclass(base, msgspec.Struct):
            continue
        [node] = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(node, ast.ClassDef)
        for field, below in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                assert isinstance(field.target, ast.Name)
                assert isinstance(below.value, ast.Constant)
                texts[field.target.id] = _one_line(str(below.value.value))
    return texts


def _name_kind(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        inner, *metas = get_args(kind)
        return " ".join([_name_kind(inner), *_name_bounds(metas)])
    if get_origin(kind) is Literal:
        return " or ".join(f'`"{choice}"`' for choice in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return _name_union([each for each in get_args(kind) if each is not NoneType])
    if get_origin(kind) is tuple:
        return f"list of {_name_kind(get_args(kind)[0])}s"
    if struct := find_struct(kind):
        return f"table ({struct.__name__})"
    names = {str: "string", int: "integer", float: "number", bool: "true or false", dict: "table"}
    return names[get_origin(kind) or kind]


def _name_union(members: list[Any]) -> str:
    first, last = members[0], members[-1]
    if get_origin(first) is tuple and get_args(first)[0] == last:
        return f"{_name_kind(last)}, or a list of these"
    return " or ".join(map(_name_kind, members))


def _name_bounds(metas: list[msgspec.Meta]) -> Iterator[str]:
    for meta in metas:
        bounds = [
            f"{sign} {value:g}" for name, sign in _SIGNS.items() if (value := getattr(meta, name)) is not None
        ]
        if bounds:
            yield f"({', '.join(bounds)})"


def _show_default(field: msgspec.structs.FieldInfo) -> str:
    """Return the default in JSON's syntax; empty for a required key."""
    if field.required:
        return ""
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "none" if value is None else json.dumps(msgspec.to_builtins(value), ensure_ascii=False)


def _is_secret(kind: Any) -> bool:
    return kind is Secret or Secret in get_args(kind)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
