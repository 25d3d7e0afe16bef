"""The settings of one teacher among several, and their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gateway.config.environment import read_secret
from gateway.core import Secret
from gateway.errors import ConfigError
from gateway.upstream import base

NO_CREDENTIAL = "none"


class TeacherSettings(base.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several teachers."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
    """As policies, metrics and `x-stepdown-served-by` name it."""
    provider: str = "openai"
    credential: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "OPENAI_API_KEY"
    """The environment variable that holds its key; "none" for a teacher that wants none."""
    models: dict[str, str] = msgspec.field(default_factory=dict)
    """Its names for the models that clients ask for; `"*"` for all others. Without: the client's names."""

    def __post_init__(self) -> None:
        """Refuse a base URL that cannot be called."""
        check_base_url(self.base_url)


def check_base_url(base_url: str) -> None:
    """Raise ValueError for a base URL that cannot be called."""
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("base_url must look like https://host/v1, without query or fragment")


def add_credentials(
    teachers: Sequence[TeacherSettings], environ: Mapping[str, str]
) -> tuple[TeacherSettings, ...]:
    """Return `teachers` with their keys: empty for one that wants none, None where `environ` has none.

    Raises ConfigError if two have one name.
    """
    names = [teacher.name for teacher in teachers]
    if len(set(names)) < len(names):
        raise ConfigError(f"[[teachers]]: a name is given twice: {', '.join(names)}")
    return tuple(
        msgspec.structs.replace(each, api_key=_read_credential(each.credential, environ)) for each in teachers
    )


def _read_credential(name: str, environ: Mapping[str, str]) -> Secret | None:
    if name == NO_CREDENTIAL:
        return Secret("")
    found = read_secret(environ, name)
    return Secret(found[0]) if found else None
