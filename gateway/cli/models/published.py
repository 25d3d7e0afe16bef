"""`models list`, `show` and `verify`: what is published, by the names that people use."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from gateway.cli import FAILED, OK
from gateway.errors import ConfigError, RegistryError
from gateway.processes.inventory import PublishedModel, describe_models, list_models, measure_mb
from gateway.processes.registry_access import list_lost_versions
from gateway.registry.manifest import Manifest
from gateway.settings import Settings
from gateway.specialists.engine import base_model
from gateway.store.state import State, open_state
from gateway.store.task_lookup import list_named_tasks, name_apart

LOST = "it drafts, but its files are gone: put them back from a backup, or roll back"
_NAME_WIDTH = 17
_FACTS = f"{'':5} {'recipe':10} {'rows':>8} {'MB':>8}  made"


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
    models = list(list_models(settings))
    named = list_named_tasks(state, wanted, [model.name for model in models])
    found = [model for model in models if model.name == wanted or model.name in named]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"several tasks are named {wanted!r}: {', '.join(model.name for model in found)}")
    known = ", ".join(sorted(state.tasks.names.of(model.name) for model in models)) or "none yet"
    raise ConfigError(f"no model is called {wanted!r}; known: {known}")


def _list(settings: Settings, state: State, arguments: argparse.Namespace) -> int:
    found = describe_models(settings, state)
    if arguments.json:
        print(msgspec.json.encode(found).decode())
        return OK
    lost = list_lost_versions(settings, state)
    if not found and not lost:
        print("no model yet: `stepdown serve` trains specialists,")
        print("`stepdown models pull` fetches a base model")
        return OK
    drafting = {(one.task, one.version) for one in state.certifications.all()}
    specialists = [one["task"] for one in found if one["kind"] == "specialist"]
    names = name_apart(state, dict.fromkeys([*specialists, *(task for task, _ in lost)]))
    lines = [
        (
            one["kind"],
            names.get(one["task"], one["name"]),
            one["task"],
            _describe(one, (one["task"], one["version"]) in drafting),
        )
        for one in found
    ]
    lines += [
        ("specialist", names[task], task, f"v{version}*   its files are gone (`models verify`)")
        for task, version in lost
    ]
    print("\n".join(_align(lines)))
    if drafting:
        print("* drafts now")
    return OK


def _describe(model: dict[str, Any], is_drafting: bool) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(model["created_at"]))
    mark = "*" if is_drafting and model["kind"] == "specialist" else ""
    version = f"v{model['version']}{mark}"
    return f"{version:5} {model['recipe']:10.10} {model['rows']:>8,} {model['size_mb']:>8.1f}  {day}"


def _align(lines: Sequence[tuple[str, str, str, str]]) -> Iterator[str]:
    """Yield the lines of a table of kind, name, task and facts; a model is named beside its first version.

    A long name has a line of its own, so that it is never cut and columns stay.
    """
    yield f"{'kind':10} {'name':{_NAME_WIDTH}} {_FACTS}"
    last = ("", "")
    # Stable: versions stay in their order, those without files come last.
    for kind, name, task, facts in sorted(lines, key=lambda line: (line[0], line[2])):
        begin = "" if (kind, task) == last else f"{kind:10} {name}"
        last = (kind, task)
        if len(name) > _NAME_WIDTH and begin:
            yield begin
            begin = ""
        yield f"{begin:{11 + _NAME_WIDTH}} {facts}"


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
    shown |= _energy(settings, registry.read(name, version))
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


def _energy(settings: Settings, manifest: Manifest) -> dict[str, Any]:
    """Return what an answer takes by the declared draw of a core; nothing without that, or unmeasured."""
    watts, footprint = settings.specialists.watts_per_core, manifest.footprint
    if watts is None or footprint is None:
        return {}
    if manifest.served_model:
        # The CPU that was measured here only waits for it.
        return {"energy_j_per_answer": None, "energy_method": "unknown: its model runs on another server"}
    method = f"{watts:g} W a core, as declared, times {footprint.cpu_ms:.2f} ms of CPU"
    return {"energy_j_per_answer": round(watts * footprint.cpu_ms / 1000, 6), "energy_method": method}


def _verify(settings: Settings, state: State, arguments: argparse.Namespace) -> int:
    name = arguments.name
    chosen = [find_model(settings, state, name)] if name else list(list_models(settings))
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
