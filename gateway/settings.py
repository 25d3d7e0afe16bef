"""The whole configuration as one typed value, read once at the start."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gateway.config.typed import KeyPath, build_config
from gateway.core import Secret
from gateway.distill import base as distill
from gateway.errors import ConfigError
from gateway.harvest import outbox
from gateway.store.home import Home
from gateway.upstream import base as upstream

DEFAULT_FILE = "stepdown.toml"
PREFIX = "STEPDOWN_"
ELSEWHERE = frozenset({f"{PREFIX}CONFIG", f"{PREFIX}KEY"})
"""Variables of ours that are no setting: where the file is, and `stepdown ask`'s own key."""

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The listening addresses, and who may call. Port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: Port = 8080
    admin_port: Port = 8081
    workers: Count = 1
    open: bool = False
    """Let any client in, whatever its key; on a loopback address only."""
    labels: bool = True
    """Tell clients in `x-stepdown-*` headers who answered and why."""
    max_body_mb: Count = 32
    body_timeout_s: Positive = 60.0
    log_format: Literal["plain", "json"] = "plain"

    def __post_init__(self) -> None:
        """`open` is allowed on loopback addresses only."""
        if self.open and not _is_loopback(self.host):
            raise ValueError(
                f"open lets anybody in and is allowed on a loopback address only, not on '{self.host}'; "
                "use 127.0.0.1, or create keys with `stepdown keys create`"
            )


class Upstream(upstream.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The teacher. Without `api_key` each client's own credential goes to it."""

    provider: str = "openai"

    def __post_init__(self) -> None:
        """Refuse a base URL that cannot be called."""
        parts = urlsplit(self.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("base_url must look like https://host/v1, without query or fragment")


class Routing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How tasks are recognised: classifiers by name, asked in this order."""

    classifiers: tuple[str, ...] = ("named", "fingerprint", "embedding")
    options: dict[str, dict[str, Any]] = {}
    """Passed by name to each classifier's own Config, which refuses what it does not know."""


class Specialists(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model host."""

    encoder: str = "minilm"
    encoder_options: dict[str, Any] = {}
    """Passed to the encoder's own Config, which refuses what it does not know."""
    budget_ms: Annotated[float, Meta(gt=0, le=15_000)] = 2_000.0
    """How long a draft may take before the teacher is asked instead. Idle, a label takes 3 ms and
    32 generated tokens take 300; a host that says nothing is given up after 3 s at most."""
    memory_mb: Annotated[int, Meta(ge=256)] = 1_024
    """Most memory of a generative engine, adapters included; the least used of these make room."""


class Harvest(outbox.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of the teacher's answers. `enabled = false` keeps nothing and learns nothing."""

    enabled: bool = True


class Learn(distill.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The learner that runs beside the gateway, and how it works."""

    enabled: bool = True
    recipes: tuple[str, ...] = ("head", "span", "lora_sft")
    """Ways to train, the quickest first; the first that learns a task well enough is kept to."""
    options: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """Passed by name to each recipe's own Config, which refuses what it does not know."""
    interval_s: Positive = 2.0


class Policies(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the policy files are; without a folder, the default one alone applies."""

    folder: str | None = None


class ListPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's price in dollars per million tokens, where the built-in table is not yours."""

    input: Annotated[float, Meta(ge=0)]
    output: Annotated[float, Meta(ge=0)]
    cached: Annotated[float, Meta(ge=0)] | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be configured."""

    home_folder: str = msgspec.field(default=".stepdown", name="home")
    """Folder of all state: keys, standings, harvest, models."""
    server: Server = Server()
    upstream: Upstream = Upstream()
    routing: Routing = Routing()
    specialists: Specialists = Specialists()
    harvest: Harvest = Harvest()
    learn: Learn = Learn()
    policies: Policies = Policies()
    prices: dict[str, ListPrice] = {}

    @property
    def home(self) -> Home:
        """The paths in the home folder, all absolute."""
        return Home(Path(self.home_folder).expanduser().absolute())

    @property
    def admission(self) -> Literal["keys", "forward", "open"]:
        """Whom the gateway lets in: holders of its keys, of the teacher's keys, or anybody."""
        if self.server.open:
            return "open"
        return "forward" if self.upstream.api_key is None else "keys"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings from the file (STEPDOWN_CONFIG, else ./stepdown.toml) under `environ`.

    A variable beats the file: STEPDOWN_HOME, STEPDOWN_<SECTION>_<KEY> (a list is separated by
    commas), OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_ORG_ID, OPENAI_PROJECT_ID. Flags of a
    command are passed as such variables, so that child processes read the very same.

    Raises ConfigError naming file and place, or the variable, and what was allowed.
    """
    file, text = _file(environ)
    data = _parsed(file, text)
    build_config(Settings, data, file, lambda path: _locate(text, path))
    for section, key, value in _from_environment(environ):
        table = data.setdefault(section, {}) if section else data
        table[key] = value
    settings = build_config(Settings, data, "environment")
    if secret := environ.get("OPENAI_API_KEY", "").strip():
        upstream = msgspec.structs.replace(settings.upstream, api_key=Secret(secret))
        settings = msgspec.structs.replace(settings, upstream=upstream)
    return settings


def _file(environ: Mapping[str, str]) -> tuple[str, str]:
    named = environ.get(f"{PREFIX}CONFIG")
    path = Path(named or DEFAULT_FILE)
    if not named and not path.exists():
        return DEFAULT_FILE, ""
    try:
        return str(path), path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _parsed(file: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        # No place means "at end of document".
        lines = text.split("\n")
        where = f"{place[1]}:{place[2]}" if place else f"{len(lines)}:{len(lines[-1]) + 1}"
        raise ConfigError(f"{file}:{where} not TOML: {error}") from error


_ONLY_IN_FILES = (Secret | None, dict[str, Any], dict[str, dict[str, Any]])


def _variables() -> dict[str, tuple[str, str, Any]]:
    """Return variable name -> (section, key, type); section is empty at the top level."""
    known: dict[str, tuple[str, str, Any]] = {f"{PREFIX}HOME": ("", "home", str)}
    for section in msgspec.structs.fields(Settings):
        if not (isinstance(section.type, type) and issubclass(section.type, msgspec.Struct)):
            continue
        for field in msgspec.structs.fields(section.type):
            if field.type not in _ONLY_IN_FILES:
                name = f"{PREFIX}{section.name}_{field.name}".upper()
                known[name] = (section.name, field.name, field.type)
    return known | {
        "OPENAI_BASE_URL": ("upstream", "base_url", str),
        "OPENAI_ORG_ID": ("upstream", "organization", str),
        "OPENAI_PROJECT_ID": ("upstream", "project", str),
    }


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    known = _variables()
    # OPENAI_* first: of two variables for one key, ours wins.
    for name in sorted(environ):
        if name in known and environ[name] != "":
            section, key, kind = known[name]
            yield section, key, _from_text(name, environ[name], kind)
        elif name.startswith(PREFIX) and name not in known and name not in ELSEWHERE:
            listed = ", ".join(sorted(known))
            raise ConfigError(
                f"environment: unknown variable {name}; known: {listed}, {', '.join(sorted(ELSEWHERE))}"
            )


def _from_text(name: str, text: str, kind: Any) -> object:
    value: object = [part.strip() for part in text.split(",")] if get_origin(kind) is tuple else text
    try:
        return msgspec.to_builtins(msgspec.convert(value, kind, strict=False))
    except msgspec.ValidationError as error:
        allowed = str(error).partition(", got")[0]
        raise ConfigError(f"environment: {name}: '{text}' refused: {allowed}") from error


_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = re.compile(rf"\s*(?P<header>\[{{0,2}})\s*(?P<name>{_NAME}(?:\s*\.\s*{_NAME})*)\s*(?P<end>[=\]])")


def _locate(text: str, path: KeyPath) -> tuple[int, int]:
    """Return the place of the longest part of `path` in a TOML text (tomllib keeps no places)."""
    table: KeyPath = ()
    best, place = 0, (1, 1)
    for number, line in enumerate(text.splitlines(), start=1):
        found = _DOTTED.match(line)
        if not found:
            continue
        names = tuple(name.strip("\"'") for name in re.findall(_NAME, found["name"]))
        table = names if found["header"] else table
        here = names if found["header"] else (*table, *names)
        if here == path[: len(here)] and len(here) > best:
            best, place = len(here), (number, found.start("name") + 1)
    return place


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
