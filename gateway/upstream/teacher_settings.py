"""The settings of one teacher among several, and their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gateway.config.environment import read_secret
from gateway.config.plugins import load_plugin
from gateway.core import Secret
from gateway.errors import ConfigError
from gateway.upstream import base
from gateway.upstream.dialect import Preset

NO_CREDENTIAL = "none"
PROVIDERS = "gateway.upstream.providers"


class TeacherSettings(base.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several teachers."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
    """As policies, metrics and `x-stepdown-served-by` name it."""
    provider: str = "openai"
    """Presets its base URL and its credential's variable, and knows what it does otherwise than OpenAI."""
    credential: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "OPENAI_API_KEY"
    """The environment variable that holds its key; "none" for a teacher that wants none."""
    models: dict[str, str] = msgspec.field(default_factory=dict)
    """Its names for the models that clients ask for; `"*"` for all others. Without: the client's names. One
    with `"*"` makes no embeddings in another's place: vectors of two models cannot be compared."""

    def __post_init__(self) -> None:
        """Refuse a base URL that cannot be called."""
        check_base_url(self.base_url)


def fill_presets(data: Mapping[str, Any]) -> None:
    """Give `[upstream]` and each of `[[teachers]]` what its provider presets and the settings leave out.

    Raises ConfigError for an unknown provider, and for one that presets no base URL where none is given.
    """
    for table in data.get("teachers", ()):
        preset = _preset_of(table, f"teacher '{table['name']}'")
        table.setdefault("base_url", preset.base_url)
        table.setdefault("credential", preset.credential)
    only = data.get("upstream", {})
    if "provider" in only:
        only.setdefault("base_url", _preset_of(only, "[upstream]").base_url)


def _preset_of(table: Mapping[str, Any], place: str) -> Preset:
    name = table.get("provider", "openai")
    preset: Preset = load_plugin(PROVIDERS, name).PRESET
    if not preset.base_url and "base_url" not in table:
        raise ConfigError(f"{place}: provider '{name}' has no address of its own; set base_url")
    return preset


def check_base_url(base_url: str) -> None:
    """Raise ValueError for a base URL that cannot be called."""
    parts = urlsplit(base_url)
    # Its error says what is wrong with the port.
    _ = parts.port
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("base_url must look like https://host/v1, without query or fragment")
    # urlsplit leaves out the white space that it finds.
    if base_url.split() != [base_url]:
        raise ValueError("base_url must hold no white space")
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError("base_url must end before /chat/completions, as https://host/v1 does")


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
