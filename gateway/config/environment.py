"""Settings and secrets from environment variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import msgspec

from gateway.core import Secret
from gateway.errors import ConfigError

PREFIX = "STEPDOWN_"
OTHER_VARIABLES = frozenset(
    f"{PREFIX}{name}" for name in ("CONFIG", "KEY", "KEY_FILE", "STATE_PASSWORD", "STATE_PASSWORD_FILE")
)
"""Our variables that are no settings: the path of the file, the key of `stepdown ask`, and secrets."""
FILE_SUFFIX = "_FILE"
"""NAME_FILE names a file that holds the secret NAME."""
LONGEST_SECRET = 16_384

# Kubernetes describes each service of a namespace to each of its pods ("Accessing the Service: environment
# variables"). A service called `stepdown`, or `stepdown-server`, has names that look like ours.
_SERVICE_PORT = re.compile(r"(tcp|udp|sctp)://")
_SERVICE_LINK = re.compile(
    r"STEPDOWN_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


class Variable(NamedTuple):
    """A variable's setting, `section` empty at the top level; `kind` is the setting's type."""

    section: str
    key: str
    kind: Any


def list_variables(settings: type[msgspec.Struct]) -> dict[str, Variable]:
    """Return every variable by its name: those of all sections, and what OpenAI's SDKs know."""
    known = {f"{PREFIX}HOME": Variable("", "home", str)}
    for section in msgspec.structs.fields(settings):
        if not _is_struct(section.type):
            continue
        for field in msgspec.structs.fields(section.type):
            if not _is_for_files_alone(field.type):
                name = f"{PREFIX}{section.name}_{field.name}".upper()
                known[name] = Variable(section.name, field.name, field.type)
    return known | {
        "OPENAI_BASE_URL": Variable("upstream", "base_url", str),
        "OPENAI_ORG_ID": Variable("upstream", "organization", str),
        "OPENAI_PROJECT_ID": Variable("upstream", "project", str),
    }


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_for_files_alone(kind: Any) -> bool:
    """Whether no variable can hold it: a secret, a table."""
    return any(
        part is Secret or get_origin(part) is dict or _is_struct(part) for part in (kind, *get_args(kind))
    )


def read_variables(
    environ: Mapping[str, str], settings: type[msgspec.Struct]
) -> Iterator[tuple[str, Variable, object]]:
    """Yield name, setting and value of every variable that is set. Raises ConfigError for an unknown one.

    Of two variables for one setting ours comes last.
    """
    known = list_variables(settings)
    for name in sorted(environ):
        if _SERVICE_PORT.match(environ[name]) and name.endswith("_PORT"):
            continue
        if name in known and environ[name] != "":
            yield name, known[name], _parse_value(name, environ[name], known[name].kind)
        elif name.startswith(PREFIX) and name not in known and name not in OTHER_VARIABLES:
            if _SERVICE_LINK.fullmatch(name):
                continue
            near = get_close_matches(name, [*known, *OTHER_VARIABLES], 3, 0.0)
            raise ConfigError(
                f"environment: unknown variable {name}; known: {', '.join(near)} and others: "
                "`stepdown config reference settings`"
            )


def read_secret(environ: Mapping[str, str], name: str) -> tuple[str, str] | None:
    """Return the secret of the variable `name`, or of the file that `name`_FILE names, and its origin.

    White space around it does not count; an empty variable counts as unset. Raises ConfigError for a
    secret that no HTTP header can carry, for a blank one, and if both variables are set.
    """
    file = environ.get(name + FILE_SUFFIX, "")
    if file and environ.get(name):
        raise ConfigError(f"environment: {name} and {name}{FILE_SUFFIX} are both set; leave one of them out")
    if file:
        origin = f"{name}{FILE_SUFFIX} ({file})"
        return _check_secret(_read_secret_file(name, file), origin), origin
    return (_check_secret(environ[name], name), name) if environ.get(name) else None


def _read_secret_file(name: str, file: str) -> str:
    try:
        with Path(file).expanduser().open(encoding="utf-8") as stream:
            return stream.read(LONGEST_SECRET + 1)
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"environment: {name}{FILE_SUFFIX}: {file} cannot be read: {exc}") from exc


def _check_secret(text: str, origin: str) -> str:
    secret = text.strip()
    if not secret:
        raise ConfigError(f"environment: {origin} is blank; set the key, or leave the variable out")
    if len(secret) > LONGEST_SECRET or not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise ConfigError(
            f"environment: {origin} is no key: it may hold printable ASCII characters alone, "
            "no spaces and no line breaks"
        )
    return secret


def _parse_value(name: str, text: str, kind: Any) -> object:
    value: object = [part.strip() for part in text.split(",")] if get_origin(kind) is tuple else text
    try:
        return msgspec.to_builtins(msgspec.convert(value, kind, strict=False))
    except msgspec.ValidationError as exc:
        allowed = str(exc).partition(", got")[0]
        raise ConfigError(f"environment: {name}: '{text}' refused: {allowed}") from exc
