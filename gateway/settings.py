"""The whole configuration as one typed value, read once at the start.

A room declares its own Config. A section of the settings is that Config, or adds to it what
concerns more than the room.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.api.http import edge
from gateway.config.addresses import is_loopback
from gateway.config.bounds import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from gateway.config.environment import PREFIX, read_secret, read_variables
from gateway.config.setting_paths import list_file_paths, list_leaves
from gateway.config.toml_file import TomlFile, read_toml
from gateway.config.typed import SettingPath, build_config
from gateway.core import UNCONSTRAINED, Constraints, Secret
from gateway.distill import base as distill
from gateway.errors import ConfigError
from gateway.finops import base as finops
from gateway.finops.prices import Price
from gateway.harvest import outbox
from gateway.registry import base as registry
from gateway.sharing import base as sharing
from gateway.specialists.remote.config import EngineConfig
from gateway.store.home import Home
from gateway.store.object_storage import refuse_secrets
from gateway.upstream import base as upstream
from gateway.upstream.teacher_settings import (
    TeacherSettings,
    add_credentials,
    check_base_url,
    fill_presets,
)

DEFAULT_FILE = "stepdown.toml"

Port = Annotated[int, Meta(ge=0, le=65535)]


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The listening addresses, and the clients let in. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: Port = 8080
    admin_host: str = "127.0.0.1"
    """The admin plane's own address; it never follows `host`. On a loopback address callers without a token
    may view; on any other every caller needs one (`stepdown admin tokens create`)."""
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
    Websockets on which nothing is said end at its beginning, the others once they are quiet. With
    Kubernetes' delay it fits into its 30 s of grace."""
    stale_after_s: PositiveFloat = 30.0
    """A worker that could not read its keys for longer is not ready, and refuses them with 503."""
    log_format: Literal["plain", "json"] = "plain"

    def __post_init__(self) -> None:
        """Allow `open` on loopback addresses only, and one port once."""
        if (self.host, self.port) == (self.admin_host, self.admin_port) and self.port:
            raise ValueError(f"port and admin_port are both {self.port} of {self.host}; change one of them")
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
    """Limit on the memory of a generative engine with its adapters, and another one of all heads and taggers
    in the model host: the least used leave memory, and are read again when they draft."""
    limits: Constraints = UNCONSTRAINED
    """What a specialist may take under every policy; a policy may only say less."""
    watts_per_core: PositiveFloat | None = None
    """What a busy core of this machine draws, as you measured or read it: `models show` multiplies it with
    the CPU time of an answer. None: no figure for energy."""
    engines: dict[str, EngineConfig] = {}
    """By name: OpenAI-compatible servers on which specialists run, too (recipes `hosted` and `lora_sft`)."""


class Harvest(outbox.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The harvest of the teacher's answers. With `enabled = false` nothing is kept and nothing learned."""

    enabled: bool = True
    keep_days: PositiveFloat | None = 365.0
    """How long rows are kept at most; a policy, a key or a limit of size may end them sooner. The default
    is the longest window that a certificate may rest on."""
    max_mb: PositiveInt = 10_240
    """Of all rows together, on the disk; the oldest go first, and of these what is for exports alone. Where
    rows move to parts: of the outboxes, and again of the parts."""
    recent_mb: NonNegativeInt = 16
    """Of the newest local answers, which each worker remembers for an hour, in memory alone: the one that an
    app complains of is kept for reviewers. 0: none is remembered, and such complaints have no text."""
    parts: str | None = None
    """Where rows move to as Parquet, which several machines may share: a folder, relative to the settings
    file, or a URL that fsspec knows (s3://bucket/folder). None: rows stay on this machine's disk."""
    parts_options: dict[str, Any] = msgspec.field(default_factory=dict)
    """Of fsspec's file system, such as `endpoint_url`. Credentials come from the environment."""
    parts_every_s: PositiveFloat = 60.0
    """How often rows move."""

    def __post_init__(self) -> None:
        """Refuse secrets in a file that people share."""
        refuse_secrets("parts_options", self.parts_options)


class Learn(distill.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The learner that runs beside the gateway."""

    enabled: bool = True
    recipes: tuple[str, ...] = ("head", "span", "lora_sft")
    """Ways to train, the quickest first; a task stays with the first that learns it well enough."""
    options: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """By name: the options of a recipe, as its own Config declares them."""
    interval_s: PositiveFloat = 2.0


class Registry(registry.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where specialists are published, for machines that share what they learn."""

    def __post_init__(self) -> None:
        """Refuse secrets in a file that people share."""
        refuse_secrets("options", self.options)


class Policies(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The policy files."""

    folder: str | None = None
    """The folder of the *.yaml files, relative to the settings file. None: the default policy alone."""


class SharedState(sharing.Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What several machines share; without `url` this one is complete by itself."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be configured."""

    home_folder: str = msgspec.field(default=".stepdown", name="home")
    """Folder of all state: keys, certificates, harvest, models. In the settings file it is relative to that
    file, elsewhere to the working folder."""
    server: Server = Server()
    upstream: Upstream = Upstream()
    """The one teacher; where `[[teachers]]` are listed, the first of them."""
    teachers: tuple[TeacherSettings, ...] = ()
    """The teachers in the order of asking, each with a credential of the gateway's own."""
    routing: Routing = Routing()
    specialists: Specialists = Specialists()
    harvest: Harvest = Harvest()
    learn: Learn = Learn()
    registry: Registry = Registry()
    policies: Policies = Policies()
    edge: Edge = Edge()
    state: SharedState = SharedState()
    prices: dict[str, Price] = {}
    """By model name: prices that replace the list price. Those of "gpt-4o@azure" hold for the answers of the
    teacher `azure`, those of "*@vllm" for all of `vllm`'s."""
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


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, and where each comes from.

    `file` is the path of the settings file, empty without one. `origins` has an entry for each setting
    that is not a default, by its path: `stepdown.toml:3`, or the name of a variable.
    """

    settings: Settings
    file: str = ""
    origins: dict[SettingPath, str] = {}


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings alone; see `read_configuration`."""
    return read_configuration(environ).settings


def read_configuration(environ: Mapping[str, str]) -> Configuration:
    """Return the settings from the file (STEPDOWN_CONFIG, else ./stepdown.toml) and `environ`.

    A variable beats the file: STEPDOWN_HOME, STEPDOWN_<SECTION>_<KEY> (a list is separated by
    commas), OPENAI_BASE_URL, OPENAI_ORG_ID, OPENAI_PROJECT_ID. The teacher's key is OPENAI_API_KEY,
    or what the file OPENAI_API_KEY_FILE holds. Flags of a command are passed as such variables, so
    that child processes read the same settings. Relative paths in the file are relative to its folder.

    Raises ConfigError with file and place, or the variable, and what was allowed.
    """
    file = _read_file(environ)
    build_config(Settings, file.data, file.name, file.locate)
    if "teachers" in file.data and "upstream" in file.data:
        raise ConfigError(
            f"{file.name}: [upstream] is the only teacher, [[teachers]] lists several: use one of them"
        )
    origins = {path: f"{file.name}:{file.locate(path)[0]}" for path in list_leaves(file.data)}
    for path in list_file_paths(file.data):
        file.anchor_path(path)
    for name, variable, value in read_variables(environ, Settings):
        table = file.data.setdefault(variable.section, {}) if variable.section else file.data
        table[variable.key] = value
        origins[(variable.section, variable.key) if variable.section else (variable.key,)] = name
    fill_presets(file.data)
    settings = build_config(Settings, file.data, "environment")
    if settings.teachers:
        teachers = add_credentials(settings.teachers, environ)
        first = {name: getattr(teachers[0], name) for name in Upstream.__struct_fields__}
        settings = msgspec.structs.replace(settings, teachers=teachers, upstream=Upstream(**first))
    elif found := read_secret(environ, "OPENAI_API_KEY"):
        secret, origins["upstream", "api_key"] = found
        teacher = msgspec.structs.replace(settings.upstream, api_key=Secret(secret))
        settings = msgspec.structs.replace(settings, upstream=teacher)
    if found := read_secret(environ, sharing.PASSWORD_VARIABLE):
        secret, origins["state", "credential"] = found
        state = msgspec.structs.replace(settings.state, credential=Secret(secret))
        settings = msgspec.structs.replace(settings, state=state)
    if settings.registry.storage is not None and not settings.state.is_shared:
        raise ConfigError(
            "registry.storage: needs state.url, too: certificates name the versions, and without shared "
            "state no other machine has them"
        )
    return Configuration(settings=settings, file=file.name, origins=origins)


def _read_file(environ: Mapping[str, str]) -> TomlFile:
    """Return the file; an empty one if none is named and none is there."""
    named = environ.get(f"{PREFIX}CONFIG")
    path = Path(named or DEFAULT_FILE)
    return read_toml(path) if named or path.exists() else TomlFile("", "", {})
