"""Objects that were made elsewhere get an owner by hand."""

from __future__ import annotations

import json

from tests.cli.conftest import Command


def test_a_claimed_object_is_listed_for_its_tenant(command: Command) -> None:
    claimed = command("objects", "claim", "file-1", "file-2", "--tenant", "billing")
    moved = command("objects", "claim", "file-2", "--tenant", "support")

    assert claimed.stdout.splitlines() == ["file-1 is of billing", "file-2 is of billing"]
    assert moved.stdout.strip() == "file-2 is of support, before of billing"
    (only,) = json.loads(command("objects", "list", "--tenant", "billing", "--json").stdout)
    assert (only["id"], only["kind"], only["tenant"]) == ("file-1", "file", "billing")
    assert "file-2" in command("objects", "list").stdout


def test_an_unknown_kind_is_refused(command: Command) -> None:
    refused = command("objects", "claim", "x", "--tenant", "t", "--kind", "thing")

    assert refused.returncode == 2
    assert "vector_store" in refused.stderr
