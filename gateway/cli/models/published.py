"""`models list`, `show` and `verify`: what is published, by the names that people use."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway.cli import FAILED, OK
from gateway.core import Footprint
from gateway.errors import ConfigError, RegistryError
from gateway.processes.registry_access import list_lost_versions, open_registry
from gateway.registry.models import Registry
from gateway.settings import Settings
from gateway.specialists.engine import base_model
from gateway.store.state import State, open_state
from gateway.store.task_lookup import list_named_tasks

LOST = "it drafts, but its files are gone: put them back from a backup, or roll back"
_NAME_WIDTH = 17


class PublishedModel(NamedTuple):
    """A model's kind, "base" or "specialist", its registry, and its name there: a specialist's task."""

    kind: str
    registry: Registry
    name: str


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Do what the action says. Raises ConfigError for an unknown model."""
    action: Callable[[Settings, State, argparse.Namespace], int] = {
        "list": _list,
        "show": _show,
        "verify": _verify,
    }[arguments.action]
    with open_state(settings.home) as state:
        return action(settings, state, arguments)


def find_model(settings: Settings, state: State, wanted: str) -> PublishedModel:
    """Return the base of that name, or the specialist of the task with that id or name.

    Raises ConfigError for an unknown one.
    """
    models = list(_list_models(settings))
    named = list_named_tasks(state, wanted, [model.name for model in models])
    found = [model for model in models if model.name == wanted or model.name in named]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"several tasks are named {wanted!r}: {', '.join(model.name for model in found)}")
    known = ", ".join(sorted(state.tasks.names.of(model.name) for model in models)) or "none yet"
    raise ConfigError(f"no model is called {wanted!r}; known: {known}")


def measure_mb(folder: Path) -> float:
    """Return the size of a model's files."""
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def _list(settings: Settings, state: State, arguments: argparse.Namespace) -> int:
    name_of = state.tasks.names.of
    found = [
        {
            "kind": model.kind,
            **msgspec.to_builtins(model.registry.read(model.name, version)),
            "size_mb": measure_mb(model.registry.folder(model.name, version)),
            "name": name_of(model.name),
        }
        for model in _list_models(settings)
        for version in model.registry.versions(model.name)
    ]
    if arguments.json:
        print(msgspec.json.encode(found).decode())
        return OK
    drafting = {(one.task, one.version) for one in state.certifications.all()} if found else set()
    for one in found:
        print(_describe(one, is_drafting=(one["task"], one["version"]) in drafting))
    lost = list_lost_versions(settings, state)
    for task, version in lost:
        print(_align("specialist", name_of(task), f"v{version}*   its files are gone (`models verify`)"))
    if drafting:
        print("* drafts now")
    if not found and not lost:
        print("no model yet: `stepdown serve` trains specialists,")
        print("`stepdown models pull` fetches a base model")
    return OK


def _describe(model: dict[str, Any], *, is_drafting: bool) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(model["created_at"]))
    mark = "*" if is_drafting and model["kind"] == "specialist" else ""
    version = f"v{model['version']}{mark}"
    facts = f"{version:5} {model['recipe']:8.8} {model['rows']:>7,} rows {model['size_mb']:>6.1f} MB {day}"
    return _align(model["kind"], model["name"], facts)


def _align(kind: str, name: str, facts: str) -> str:
    """Return a line; two where the name is long, so that it is never cut and columns stay."""
    indent = " " * 11
    gap = f"{name:{_NAME_WIDTH}} " if len(name) <= _NAME_WIDTH else f"{name}\n{indent}{'':{_NAME_WIDTH}} "
    return f"{kind:10} {gap}{facts}"


def _show(settings: Settings, state: State, arguments: argparse.Namespace) -> int:
    kind, registry, name = find_model(settings, state, arguments.name)
    versions = registry.versions(name)
    version = arguments.version or max(versions)
    if version not in versions:
        raise ConfigError(f"{name} has no version {version}; known: {', '.join(map(str, versions))}")
    folder = registry.folder(name, version)
    shown = {
        "kind": kind,
        "folder": str(folder),
        "size_mb": measure_mb(folder),
        **msgspec.to_builtins(registry.read(name, version)),
    }
    shown |= _energy(settings, registry.read(name, version).footprint)
    if kind == "base":
        shown["card"] = msgspec.to_builtins(base_model.read_card(folder))
    else:
        shown["certificates"] = _list_certificates(state, name, version)
    print(msgspec.json.format(msgspec.json.encode(shown)).decode())
    return OK


def _list_certificates(state: State, task: str, version: int) -> list[dict[str, Any]]:
    """Return what a version may serve, none for one that does not draft."""
    certification = state.certifications.of(task)
    found = certification.certificates if certification.version == version else ()
    return [
        {"stratum": one.stratum, **msgspec.to_builtins(one.target), "stage": one.stage, "note": one.note}
        for one in found
    ]


def _energy(settings: Settings, footprint: Footprint | None) -> dict[str, Any]:
    """Return what an answer takes by the declared draw of a core; nothing without that, or unmeasured."""
    watts = settings.specialists.watts_per_core
    if watts is None or footprint is None:
        return {}
    method = f"{watts:g} W a core, as declared, times {footprint.cpu_ms:.2f} ms of CPU"
    return {"energy_j_per_answer": round(watts * footprint.cpu_ms / 1000, 6), "energy_method": method}


def _verify(settings: Settings, state: State, arguments: argparse.Namespace) -> int:
    name = arguments.name
    chosen = [find_model(settings, state, name)] if name else list(_list_models(settings))
    findings = []
    for finding in _look(settings, state, chosen, is_all=not name):
        findings.append(finding)
        if not arguments.json:
            fault = finding["fault"]
            verdict = f"{'BROKEN' if fault else 'ok':6}  {finding['kind']}"
            named = f"{verdict}  {finding['task_name']}  v{finding['version']}"
            print(named + (f": {fault}" if fault else ""))
    if arguments.json:
        print(json.dumps(findings))
    elif not findings:
        print("no model to verify")
    return FAILED if any(one["fault"] for one in findings) else OK


def _look(
    settings: Settings, state: State, chosen: list[PublishedModel], *, is_all: bool
) -> Iterator[dict[str, Any]]:
    """Yield a finding per version: of those chosen, and those that draft without files."""
    for kind, registry, name in chosen:
        for version in registry.versions(name):
            try:
                registry.verify(name, version)
                fault = ""
            except RegistryError as exc:
                fault = str(exc)
            yield _finding(state, kind, name, version, fault)
    for task, version in list_lost_versions(settings, state):
        if is_all or task in {model.name for model in chosen}:
            yield _finding(state, "specialist", task, version, LOST)


def _finding(state: State, kind: str, name: str, version: int, fault: str) -> dict[str, Any]:
    named = state.tasks.names.of(name)
    return {"kind": kind, "name": name, "version": version, "fault": fault, "task_name": named}


def _list_models(settings: Settings) -> Iterator[PublishedModel]:
    """Yield everything published: bases first."""
    for kind, registry in (
        ("base", Registry(settings.home.models)),
        ("specialist", open_registry(settings)),
    ):
        for name in registry.tasks():
            yield PublishedModel(kind, registry, name)
