"""Two changes made at once: every machine comes to the same row, whichever change it sees first."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from gateway.core import Certificate, Certification, RiskTarget
from gateway.sharing.tables import TABLES, Row

KEY = {"id": "k", "name": "app", "tenant": "app", "terms": "{}", "created_at": 1.0}
SECRET = {"hash": "h", "key_id": "k", "created_at": 1.0}
TASK = {"task": "t", "scope": "s", "contract_hash": "c", "model": "m", "vector": b"v"}


def certification(epoch: int, stage: Any, version: int | None = 1) -> dict[str, Any]:
    certificate = Certificate(stratum="new", target=RiskTarget(), stage=stage, threshold=0.5)
    body = Certification(task="t", version=version, epoch=epoch, certificates=(certificate,))
    return {"task": "t", "epoch": epoch, "body": msgspec.json.encode(body).decode()}


ROWS: dict[str, list[Row | None]] = {
    "gateway_keys": [KEY | {"revoked_at": None}, KEY | {"revoked_at": 5.0}, KEY | {"revoked_at": 7.0}],
    "key_secrets": [SECRET | {"valid_until": None}, SECRET | {"valid_until": 9.0}],
    "freezes": [None, {"task": "t", "at": 2.0, "note": "a"}, {"task": "t", "at": 3.0, "note": "b"}],
    "pins": [None, {"task": "t"}],
    "seen_alarms": [None, {"task": "t", "epoch": 1, "at": 2.0, "note": "a"}],
    "certifications": [
        certification(0, "live"),
        certification(0, "live", 2),
        certification(1, "live", 2),
        certification(1, "alarm"),
        certification(1, "shadow", None),
        certification(2, "shadow"),
    ],
    "tasks": [
        TASK | {"template_text": "a", "adopted_at": 1.0},
        TASK | {"template_text": "a", "adopted_at": 2.0},
        TASK | {"template_text": "", "adopted_at": 1.0, "vector": b"0"},
    ],
    "task_names": [{"task": "t", "scope": "s", "name": "a"}, {"task": "t", "scope": "s", "name": "b"}],
    "objects": [
        {"id": "f", "kind": "file", "tenant": "a", "at": 1.0},
        {"id": "f", "kind": "file", "tenant": "b", "at": 2.0},
    ],
    "templates": [
        None,
        {"task": "t", "copy": "c", "status": "known", "at": 1.0},
        {"task": "t", "copy": "c", "status": "separate", "at": 2.0},
    ],
    "machines": [
        None,
        {"machine": "a", "host": "one", "joined_at": 1.0},
        {"machine": "a", "host": "two", "joined_at": 2.0},
    ],
    "former_audit_keys": [None, {"key": "00ff"}],
    "forgets": [None, {"id": "f", "machine": "a", "at": 1.0, "selection": "{}"}],
    "forget_traces": [
        None,
        {"forget": "f", "machine": "a", "part": 0, "ids": "[]", "body": "[]"},
        {"forget": "f", "machine": "a", "part": 0, "ids": '["r"]', "body": "[]"},
    ],
    "forget_receipts": [
        None,
        {"forget": "f", "machine": "a", "is_done": 0, "traces": 3, "body": "{}"},
        {"forget": "f", "machine": "a", "is_done": 1, "traces": 1, "body": "{}"},
    ],
}


@pytest.mark.parametrize("name", TABLES)
def test_the_order_of_two_changes_does_not_matter(name: str) -> None:
    merge = TABLES[name].merge
    for mine, theirs in itertools.product(ROWS[name], repeat=2):
        assert merge(mine, theirs) == merge(theirs, mine)
        assert merge(mine, mine) == mine
        assert merge(merge(mine, theirs), theirs) == merge(mine, theirs)


def test_the_careful_change_holds() -> None:
    never, later = ROWS["gateway_keys"][0], ROWS["gateway_keys"][2]
    assert (TABLES["gateway_keys"].merge(never, later) or {})["revoked_at"] == 7.0

    merged = TABLES["certifications"].merge(certification(1, "live", 2), certification(1, "alarm")) or {}
    assert msgspec.json.decode(merged["body"], type=Certification).stage == "alarm"


def test_what_either_machine_withdrew_is_not_brought_back() -> None:
    """Two that forget at once: one has deleted the version, the other only blocked its certificates."""
    merge = TABLES["certifications"].merge
    withdrawn, blocked = certification(3, "shadow", None), certification(3, "shadow", 9)
    assert merge(blocked, withdrawn) == merge(withdrawn, blocked) == withdrawn
