"""List the objects that tenants made at the teacher, and give one to a tenant."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import TYPE_CHECKING

from gateway.cli import OK

if TYPE_CHECKING:
    from gateway.store.objects import OwnedObject

_KINDS = (
    "assistant", "batch", "character", "completion", "container", "conversation", "eval", "file",
    "fine_tuning_job", "item", "prompt", "response", "thread", "upload", "vector_store", "video",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list ids, kinds and tenants")
    listing.add_argument("--tenant", default="", help="only the objects of this tenant")
    listing.add_argument("--json", action="store_true", help="print JSON")
    claim = actions.add_parser("claim", help="make a tenant the owner of objects that were made elsewhere")
    claim.add_argument("ids", nargs="+", metavar="ID", help="their ids at the teacher")
    claim.add_argument("--tenant", required=True, help="the new owner")
    claim.add_argument("--json", action="store_true", help="print JSON")
    claim.add_argument("--kind", choices=_KINDS, default="file", help="what they are (default: file)")


def run(arguments: argparse.Namespace) -> int:
    """List or claim."""
    from gateway.settings import read_settings
    from gateway.store.audit_trail import name_local_actor
    from gateway.store.state import open_state

    with open_state(read_settings(os.environ).home) as state:
        if arguments.action == "list":
            return _list(state.objects.list_objects(arguments.tenant), is_json=arguments.json)
        claimed = []
        for object_id in arguments.ids:
            with state.trail.transaction():
                before = state.objects.claim(object_id, arguments.kind, arguments.tenant)
                state.trail.add(
                    name_local_actor(), "objects claim", object_id, tenant=arguments.tenant, before=before
                )
            claimed.append({"id": object_id, "tenant": arguments.tenant, "before": before})
            was = f", before of {before}" if before and before != arguments.tenant else ""
            if not arguments.json:
                print(f"{object_id} is of {arguments.tenant}{was}")
    if arguments.json:
        print(json.dumps(claimed))
    return OK


def _list(objects: list[OwnedObject], *, is_json: bool) -> int:
    if is_json:
        import msgspec

        print(msgspec.json.encode(objects).decode())
        return OK
    for one in objects:
        made = time.strftime("%Y-%m-%d", time.gmtime(one.at))
        print(f"{made}  {one.kind:12}  {one.tenant:16.16}  {one.id}")
    if not objects:
        print("no object that a tenant made")
    return OK
