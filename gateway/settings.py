"""The whole configuration as one typed value, read once at the start.

A room declares its own Config. A section of the settings is that Config, or adds to it what
concerns more than the room.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import msgspec
from msgspec import Meta

from gateway.api.http import edge
from gateway.config.addresses import is_loopback
from gateway.config.bounds import NonNegativeFloat, PositiveFloat, PositiveInt
from gateway.config.typed import SettingPath, build_config
from gateway.core import Secret
from gateway.distill import base as distill
from gateway.errors import ConfigError
from gateway.finops import base as finops
from gateway.finops.prices import Price
from gateway.harvest import outbox
from gateway.store.home import Home
from gateway.upstream import base as upstream
from gateway.upstream.teacher_settings import TeacherSettings, add_credentials, check_base_url

DEFAULT_FILE = "stepdown.toml"
PREFIX = "STEPDOWN_"
OTHER_VARIABLES = frozenset({f"{PREFIX}CONFIG", f"{PREFIX}KEY"})
"""Our variables that are no settings: the path of the file, and the key of `stepdown ask`."""

# Kubernetes describes each service of a namespace to each of its pods ("Accessing the Service: environment
# variables"). A service called `stepdown`, or `stepdown-server`, has names that look like ours.
_SERVICE_PORT = re.compile(r"(tcp|udp|sctp)://")
_SERVICE_LINK = re.compile(
    r"STEPDOWN_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)

Port = Annotated[int, Meta(ge=0, le=65535)]


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The listening addresses, and the clients let in. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: Port = 8080
    admin_host: str = "127.0.0.1"
    """The admin plane's own address: it has no credential, and never follows `host`."""
    admin_port: Port = 8081
    names: tuple[str, ...] = ()
    """Host names by which the admin plane, and with `open` the API, may be called. Addresses and local
    names always may; others are refused, because any web page could make one point here."""
    workers: PositiveInt = 1
    open: bool = False
    """Let any client in, whatever its key; on a loopback address only."""
    labels: bool = True
    """Tell clients in `x-stepdown-*` headers who answered and why."""
    max_body_mb: PositiveInt = 50
    """Of a request that is read (chat, responses, embeddings), as sent and decoded. Held in memory; as
    much as OpenAI takes."""
    max_upload_mb: PositiveInt = 512
    """Of any other request, which passes through piece by piece: OpenAI's largest file, the form on top."""
    body_timeout_s: PositiveFloat = 60.0
    drain_delay_s: NonNegativeFloat = 0.0
    """After SIGTERM: how long requests are still taken while /readyz says 503. In Kubernetes 5: so long do
    its proxies go on sending to a pod that ends."""
    drain_s: PositiveFloat = 20.0
    """After that: the time for answers under way; then the streams that are left end with an error event.
    With Kubernetes' delay it fits into its 30 s of grace."""
    stale_after_s: PositiveFloat = 30.0
    """A worker that could not read its keys for longer is not ready, and refuses them with 503."""
    log_format: Literal["plain", "json"] = "plain"

    def __post_init__(self) -> None:
        """Allow `open` on loopback addresses only."""
        if self.open and not is_loopback(self.host):
            raise ValueError(
                f"open lets anybody in and is allowed on a loopback address only, not on '{self.host}'; "
                "use 127.0.0.1, or create keys with `stepdown keys create`"
            )


class Edge(edge.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What clients may take before it is known who they are; numbers are per worker."""


class Upstream(upstream.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The teacher. Without `api_key` the credential of each client goes to it."""

    provider: str = "openai"

    def __post_init__(self) -> None:
        """Refuse a base URL that cannot be called."""
        check_base_url(self.base_url)


class Routing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The classifiers that recognize tasks, by name, in the order of asking."""

    classifiers: tuple[str, ...] = ("named", "fingerprint", "embedding")
    options: dict[str, dict[str, Any]] = {}
    """By name: the options of a classifier, as its own Config declares them."""


class Specialists(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model host."""

    encoder: str = "minilm"
    encoder_options: dict[str, Any] = {}
    """The options of the encoder, as its own Config declares them."""
    budget_ms: Annotated[float, Meta(gt=0, le=15_000)] = 2_000.0
    """Time for a draft; after it the teacher is asked. On an idle machine a label takes 3 ms and 32
    generated tokens take 300. A host that is silent is given up after 3 s at most."""
    memory_mb: Annotated[int, Meta(ge=256)] = 1_024
    """Limit on the memory of a generative engine with its adapters; the least used are unloaded."""


class Harvest(outbox.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The harvest of the teacher's answers. With `enabled = false` nothing is kept and nothing learned."""

    enabled: bool = True


class Learn(distill.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The learner that runs beside the gateway."""

    enabled: bool = True
    recipes: tuple[str, ...] = ("head", "span", "lora_sft")
    """Ways to train, the quickest first; a task stays with the first that learns it well enough."""
    options: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """By name: the options of a recipe, as its own Config declares them."""
    interval_s: PositiveFloat = 2.0


class Policies(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The folder of the policy files; without one only the default policy applies."""

    folder: str | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be configured."""

    home_folder: str = msgspec.field(default=".stepdown", name="home")
    """Folder of all state: keys, standings, harvest, models."""
    server: Server = Server()
    upstream: Upstream = Upstream()
    """The one teacher; where `[[teachers]]` are listed, the first of them."""
    teachers: tuple[TeacherSettings, ...] = ()
    """The teachers in the order of asking, each with a credential of the gateway's own."""
    routing: Routing = Routing()
    specialists: Specialists = Specialists()
    harvest: Harvest = Harvest()
    learn: Learn = Learn()
    policies: Policies = Policies()
    edge: Edge = Edge()
    prices: dict[str, Price] = {}
    """By model name: prices that replace the list price."""
    costs: finops.Config = finops.Config()

    @property
    def home(self) -> Home:
        """The paths in the home folder, all absolute."""
        return Home(Path(self.home_folder).expanduser().absolute())

    @property
    def admission(self) -> Literal["keys", "forward", "open"]:
        """The clients let in: holders of our keys, of keys that the teacher accepts, or all."""
        if self.server.open:
            return "open"
        # The credentials of `[[teachers]]` are the gateway's own; one that is missing stops the start.
        return "keys" if self.teachers or self.upstream.api_key else "forward"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings from the file (STEPDOWN_CONFIG, else ./stepdown.toml) and `environ`.

    A variable beats the file: STEPDOWN_HOME, STEPDOWN_<SECTION>_<KEY> (a list is separated by
    commas), OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_ORG_ID, OPENAI_PROJECT_ID. Flags of a
    command are passed as such variables, so that child processes read the same settings.

    Raises ConfigError with file and place, or the variable, and what was allowed.
    """
    file, text = _read_file(environ)
    data = _parse_toml(file, text)
    build_config(Settings, data, file, lambda path: _locate(text, path))
    if "teachers" in data and "upstream" in data:
        raise ConfigError(
            f"{file}: [upstream] is the only teacher, [[teachers]] lists several: use one of them"
        )
    for section, key, value in _read_variables(environ):
        table = data.setdefault(section, {}) if section else data
        table[key] = value
    settings = build_config(Settings, data, "environment")
    if settings.teachers:
        teachers = add_credentials(settings.teachers, environ)
        first = {name: getattr(teachers[0], name) for name in Upstream.__struct_fields__}
        return msgspec.structs.replace(settings, teachers=teachers, upstream=Upstream(**first))
    if secret := environ.get("OPENAI_API_KEY", "").strip():
        teacher = msgspec.structs.replace(settings.upstream, api_key=Secret(secret))
        settings = msgspec.structs.replace(settings, upstream=teacher)
    return settings


def _read_file(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the file's name and text, the text empty if there is no file."""
    named = environ.get(f"{PREFIX}CONFIG")
    path = Path(named or DEFAULT_FILE)
    if not named and not path.exists():
        return DEFAULT_FILE, ""
    try:
        return str(path), path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}") from exc


def _parse_toml(file: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(exc))
        # No place means "at end of document".
        lines = text.split("\n")
        where = f"{place[1]}:{place[2]}" if place else f"{len(lines)}:{len(lines[-1]) + 1}"
        raise ConfigError(f"{file}:{where} not TOML: {exc}") from exc


_ONLY_IN_FILES = (Secret | None, dict[str, Any], dict[str, dict[str, Any]])


def _list_variables() -> dict[str, tuple[str, str, Any]]:
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


def _read_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    """Yield section, key and value of every variable that is set. Raises ConfigError for an unknown one."""
    known = _list_variables()
    # OPENAI_* first: of two variables for one key, ours wins.
    for name in sorted(environ):
        if _SERVICE_PORT.match(environ[name]) and name.endswith("_PORT"):
            continue
        if name in known and environ[name] != "":
            section, key, kind = known[name]
            yield section, key, _parse_value(name, environ[name], kind)
        elif name.startswith(PREFIX) and name not in known and name not in OTHER_VARIABLES:
            if _SERVICE_LINK.fullmatch(name):
                continue
            listed = ", ".join([*sorted(known), *sorted(OTHER_VARIABLES)])
            raise ConfigError(f"environment: unknown variable {name}; known: {listed}")


def _parse_value(name: str, text: str, kind: Any) -> object:
    value: object = [part.strip() for part in text.split(",")] if get_origin(kind) is tuple else text
    try:
        return msgspec.to_builtins(msgspec.convert(value, kind, strict=False))
    except msgspec.ValidationError as exc:
        allowed = str(exc).partition(", got")[0]
        raise ConfigError(f"environment: {name}: '{text}' refused: {allowed}") from exc


_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = re.compile(rf"\s*(?P<header>\[{{0,2}})\s*(?P<name>{_NAME}(?:\s*\.\s*{_NAME})*)\s*(?P<end>[=\]])")


def _locate(text: str, path: SettingPath) -> tuple[int, int]:
    """Return the place of the longest part of `path` in a TOML text (tomllib keeps no places)."""
    table: SettingPath = ()
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
