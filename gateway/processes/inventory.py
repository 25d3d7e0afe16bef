"""What a gateway has and is set to, as plain data, for the commands and the admin plane."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway.config.show import MASKED, Setting, list_settings
from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.reader import HarvestReader, Stats
from gateway.policy.key_limits import KeyLimits
from gateway.policy.key_meters import describe_key
from gateway.processes.harvest_access import open_harvest
from gateway.processes.registry_access import open_registry
from gateway.processes.teachers import describe_teachers
from gateway.registry.models import Registry
from gateway.settings import Configuration, Settings
from gateway.sharing.lease_keeper import open_lease_keeper
from gateway.store.objects import OwnedObject
from gateway.store.retirements import read_retirements
from gateway.store.shared_counters import Counters
from gateway.store.state import State
from gateway.store.task_lookup import find_recorded_task

_HIDDEN = frozenset({"demands"})
"""Fields of a row that are packed."""
_TEACHERS_KEY = ("upstream.api_key", "OPENAI_API_KEY")
_WITHHELD = "the environment of `stepdown serve`"


class PublishedModel(NamedTuple):
    """A model's kind, "base" or "specialist", its registry, and its name there: a specialist's task."""

    kind: str
    registry: Registry
    name: str


class GatewayInventory:
    """See api.admin.inventory.Inventory. Every method may block."""

    def __init__(self, configuration: Configuration, state: State, *, admission: str) -> None:
        """`admission` is that of the workers: here the settings lack the teacher's key, which tells it."""
        self._configuration = configuration
        self._settings = configuration.settings
        self._state = state
        self._has_own_key = admission == "keys"

    def list_settings(self) -> list[dict[str, Any]]:
        """Return every setting with its value and origin, secrets masked."""
        shown = [each.describe() for each in describe_settings(self._configuration)]
        if self._has_own_key:
            withheld = {"value": MASKED, "origin": _WITHHELD}
            shown = [one | withheld if one["key"] == _TEACHERS_KEY[0] else one for one in shown]
        return shown

    def list_keys(self) -> list[dict[str, Any]]:
        """Return all keys, never the secrets."""
        return [describe_key(key, time.time()) for key in self._state.keys.all()]

    def show_key(self, key: str) -> dict[str, Any]:
        """Return a key and what is used of its limits. Raises ConfigError for an unknown one."""
        found = self._state.keys.find(key)
        if found is None:
            raise ConfigError(f"no key has the id or name '{key}'; see `stepdown keys list`")
        path = self._settings.home.counters
        counters = Counters(path if path.exists() else None, None)
        try:
            keeper = open_lease_keeper(self._settings.state, "", counters)
            uses = KeyLimits(counters, keeper=keeper).report_use(found)
        finally:
            counters.close()
        return describe_key(found, time.time(), uses, self._state.keys.count_secrets(found.id))

    def list_tokens(self) -> list[dict[str, Any]]:
        """Return the tokens of the admin plane, never the secrets."""
        now = time.time()
        return [
            {**msgspec.to_builtins(one), "state": one.state_at(now)} for one in self._state.admin_tokens.all()
        ]

    def list_models(self) -> list[dict[str, Any]]:
        """Return the manifest of every base and of every version of every specialist."""
        self._state.tasks.refresh()
        return describe_models(self._settings, self._state)

    def list_teachers(self) -> list[dict[str, Any]]:
        """Return the teachers in the order of asking."""
        retirements = read_retirements(self._settings.home)
        described = [
            msgspec.to_builtins(msgspec.structs.replace(one, retirements=retirements.get(one.name, {})))
            for one in describe_teachers(self._settings)
        ]
        if self._has_own_key and not self._settings.teachers:
            described = [one | {"credential": _TEACHERS_KEY[1]} for one in described]
        return described

    def list_objects(self, tenant: str) -> list[OwnedObject]:
        """Return the objects that tenants made at the teacher; of all tenants if it is empty."""
        return self._state.objects.list_objects(tenant)

    def report_harvest(self) -> Stats:
        """Return counts, times and size of the harvest."""
        return open_harvest(self._settings).stats()

    def list_rows(self, task: str | None, last: int) -> list[dict[str, Any]]:
        """Return the newest rows, with their texts. Raises ConfigError for an unknown task."""
        reader = open_harvest(self._settings)
        if task is None:
            return [describe_row(row) for row in reader.latest(last).rows]
        self._state.tasks.refresh()
        wanted = find_recorded_task(self._state, task, reader.counts())
        return [describe_row(row) for row in read_newest(reader, {wanted}, last)]

    def show_row(self, request_id: str) -> dict[str, Any] | None:
        """Return all that is kept of a request and was said of it, None if nothing is."""
        return describe_request(self._settings, self._state, request_id)


def describe_settings(configuration: Configuration) -> Iterator[Setting]:
    """Yield every setting; where several teachers are listed, none of `[upstream]`, which is their first."""
    is_double = bool(configuration.settings.teachers)
    for setting in list_settings(configuration.settings, configuration.origins):
        if not (is_double and setting.key.startswith("upstream.")):
            yield setting


def list_models(settings: Settings) -> Iterator[PublishedModel]:
    """Yield everything published: bases first."""
    registries = (("base", Registry(settings.home.models)), ("specialist", open_registry(settings)))
    for kind, registry in registries:
        for name in registry.tasks():
            yield PublishedModel(kind, registry, name)


def describe_models(settings: Settings, state: State) -> list[dict[str, Any]]:
    """Return the manifest of every model, with its kind, its size and its readable name."""
    return [
        {
            "kind": model.kind,
            **msgspec.to_builtins(model.registry.read(model.name, version)),
            "size_mb": measure_mb(model.registry.folder(model.name, version)),
            "name": state.tasks.names.of(model.name),
        }
        for model in list_models(settings)
        for version in model.registry.versions(model.name)
    ]


def measure_mb(folder: Path) -> float:
    """Return the size of a model's files."""
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def read_newest(reader: HarvestReader, tasks: Iterable[str], count: int) -> list[Row]:
    """Return the last `count` rows of these tasks together, oldest first."""
    rows = [row for task in tasks for row in reader.rows(task, newest=count).rows]
    return sorted(rows, key=lambda row: row.at)[-count:]


def describe_request(settings: Settings, state: State, request_id: str) -> dict[str, Any] | None:
    """Return the rows of a request and what was said of it; None if there is neither.

    A local answer has no row, but an app may have said something of it.
    """
    rows = open_harvest(settings).find(request_id)
    feedback = [one for one in state.reviews.feedback() if one.request_id == request_id]
    if not rows and not feedback:
        return None
    verdicts = [one for task in {row.task for row in rows} for one in state.reviews.verdicts(task)]
    return {
        "rows": [describe_row(row) for row in rows],
        "verdicts": [one for one in verdicts if one.request_id == request_id],
        "feedback": feedback,
    }


def describe_row(row: Row) -> dict[str, Any]:
    """Return the fields of `row`; what is JSON in it as JSON, not as a string."""
    fields: dict[str, Any] = {
        name: getattr(row, name) for name in row.__struct_fields__ if name not in _HIDDEN
    }
    return {
        name: (msgspec.Raw(value) if value else None) if isinstance(value, bytes) else value
        for name, value in fields.items()
    }
