"""No file holds what a policy keeps out of it, and what is replaced is no lesson."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway.core import Demands
from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.reader import HarvestReader

CANARIES = (
    "jane.doe@example.org",
    "+49 170 1234567",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "192.168.17.4",
    "123-45-6789",
    "sk-proj-abcdefghijklmnopqrstuvwx",
    "password: hunter2hunter2",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "AKIAABCDEFGHIJKLMNOP",
    "postgres://app:s3cr3tpass@db/x",
    "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeKKF2",
)
KINDS = ("card", "email", "iban", "ip", "national_id", "phone", "secret")


def holds(folder: Path, word: str) -> bool:
    return any(word.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("canary", CANARIES)
def test_a_canary_is_in_no_file(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row], canary: str
) -> None:
    """In whatever part of the request or answer it was, and however JSON writes it."""
    said = msgspec.json.encode([{"role": "user", "content": f"line\n{canary}\n"}])
    tools = msgspec.json.encode([{"type": "function", "function": {"name": "f", "description": canary}}])
    box = outbox()
    box.put(
        row(
            text=canary,
            answer=f"You said {canary}",
            draft=f"{canary}!",
            template_text=f"The user is {canary}",
            messages=said,
            tools=tools,
            response_format=b"{}",
            reply=said,
            is_held_out=True,
            demands=msgspec.msgpack.encode(Demands(stop=(canary,), tools=tools)),
            private_kinds=KINDS,
        )
    )
    box.close()

    (kept,) = HarvestReader(folder).find("req-1")
    secret = canary.partition(": ")[2] if canary.startswith("password") else canary
    secret = "s3cr3tpass" if "://" in canary else secret
    assert not holds(folder, secret)
    assert "[" in kept.text
    msgspec.json.decode(kept.messages)


def test_an_answer_with_private_data_teaches_nothing_and_is_lost_as_evidence(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    """A specialist that says [email] must never be found to agree with the teacher."""
    box = outbox()
    for held_out in (False, True):
        box.put(row(answer="ask jane@example.org", is_held_out=held_out, private_kinds=("email",)))
    box.close()

    lesson, audit = HarvestReader(folder).rows("cards").rows
    assert (lesson.is_lesson, lesson.answer) == (False, "ask [email]")
    assert (audit.is_lesson, audit.ending) == (True, "refused")


def test_a_row_without_private_data_is_written_as_it_came(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    box = outbox()
    box.put(row(private_kinds=KINDS))
    box.close()

    (kept,) = HarvestReader(folder).rows("cards").rows
    assert kept == row(private_kinds=KINDS)
