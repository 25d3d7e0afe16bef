"""Reading policy files; every error names its line and column."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from gateway.config.typed import SettingPath, build_config
from gateway.errors import ConfigError
from gateway.policy.schema import Policy, PolicyFile

DEFAULT = "default.yaml"
"""Read after all other files, out of alphabetical order: it takes the requests that they leave."""

# The library's constructors trust a tag: `!!int` without a number is an IndexError, `!!timestamp` without a
# time an AttributeError, a list as a key a TypeError.
_NOT_YAML = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


def load_policies(folder: str | Path | None) -> tuple[Policy, ...]:
    """Return the policies of `folder`'s *.yaml files in the order of asking.

    Files come in alphabetical order, default.yaml last. Without a folder, the policy shipped
    with stepdown is returned. Raises ConfigError with file, line and column.
    """
    files = [_shipped_file()] if folder is None else _list_files(Path(folder).expanduser())
    policies = tuple(policy for file in files for policy in read_policy_file(file))
    names = [policy.name for policy in policies]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two policies are named '{name}' in {', '.join(map(str, files))}")
    return policies


def read_policy_file(file: Path) -> tuple[Policy, ...]:
    """Return the policies of one file. Raises ConfigError with file, line and column."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{file}: cannot be read: {exc}") from exc
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_duplicates(file, root)
        data = yaml.safe_load(text)
    except _NOT_YAML as exc:
        raise ConfigError(f"{file}{_position(exc)} not YAML: {_problem(exc)}") from exc
    return tuple(build_config(PolicyFile, data, str(file), lambda path: _locate(root, path)).policies)


def _list_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(f"policies.folder: {folder} is not a folder")
    files = sorted(folder.glob("*.yaml"), key=lambda file: (file.name == DEFAULT, file.name))
    if not files:
        raise ConfigError(f"policies.folder: {folder} holds no *.yaml file")
    return files


def _shipped_file() -> Path:
    beside = Path(__file__).with_name(DEFAULT)
    # An installed wheel carries the file beside this module, a checkout in its policies folder.
    return beside if beside.exists() else Path(__file__).parents[2] / "policies" / DEFAULT


def _refuse_duplicates(file: Path, root: yaml.Node | None) -> None:
    for mapping in _mappings(root, set()):
        seen: set[str] = set()
        for key, _ in mapping.value:
            if key.value in seen:
                line, column = _place(key)
                raise ConfigError(f"{file}:{line}:{column} duplicate key '{key.value}'")
            seen.add(str(key.value))


def _mappings(node: yaml.Node | None, visited: set[int]) -> Iterator[yaml.MappingNode]:
    if node is None or id(node) in visited:
        return
    # An alias shares its node: without this check a few lines of aliases would take forever.
    visited.add(id(node))
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        yield node
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    for child in children:
        yield from _mappings(child, visited)


def _locate(node: yaml.Node | None, path: SettingPath) -> tuple[int, int]:
    """Return line and column of the deepest part of `path` that the document holds."""
    if node is None:
        return 1, 1
    place = _place(node)
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == step]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = [(node.value[step], node.value[step])]
        else:
            found = []
        if not found:
            return place
        place, node = _place(found[0][0]), found[0][1]
    return place


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _position(exc: Exception) -> str:
    mark = getattr(exc, "problem_mark", None)
    return f":{mark.line + 1}:{mark.column + 1}" if mark else ":"


def _problem(exc: Exception) -> str:
    return str(getattr(exc, "problem", None) or exc)
