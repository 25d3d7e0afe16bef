"""What the rows of a template have in common lies in a file once; rows, SQL and exports do not show it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.query import run_query
from gateway.harvest.reader import HarvestReader
from gateway.harvest.redaction import RowRedactor
from gateway.harvest.removal import Selection, forget, wipe
from gateway.harvest.shared_templates import TemplateSharer

MakeRow = Callable[..., Row]
OpenOutbox = Callable[..., Outbox]
TEXT = "You sort questions. " * 50
SYSTEM = {"role": "system", "content": TEXT}


def messages(*following: object, before: tuple[object, ...] = (SYSTEM,)) -> bytes:
    """JSON as no encoder of ours writes it: white space between the messages."""
    return (" [ " + " ,\n ".join(json.dumps(one) for one in (*before, *following)) + " ] ").encode()


def asking(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize(
    ("given", "shared"),
    [
        (messages(asking("a"), asking("b")), messages().rstrip(b"] ") + b" ,\n "),
        (messages(), b""),
        (messages(asking("a"), before=()), b""),
        (messages(asking("a"), SYSTEM, before=()), b""),
        (b'[{"role":"developer","content":"{\\"role\\":\\"user\\"}"},{"role":"user"}]',
         b'[{"role":"developer","content":"{\\"role\\":\\"user\\"}"},'),
        (b'[{"role":7},{"role":"user"}]', b""),
        (b"no JSON", b""),
        (b"", b""),
    ],
)  # fmt: skip
def test_a_prefix_ends_where_the_first_message_of_another_role_begins(
    given: bytes, shared: bytes, row: MakeRow
) -> None:
    one = row(template_text=TEXT, messages=given)
    assert TemplateSharer().share_template(one).prefix == shared


def test_what_is_known_of_a_template_is_not_taken_for_another_request_of_it(row: MakeRow) -> None:
    """A fingerprint tells the text of a template, not how its messages are written."""
    sharer = TemplateSharer()
    written = [
        messages(asking("a")),
        messages(asking("a"), before=()),
        json.dumps([{"role": "system", "content": [{"type": "text", "text": TEXT}]}, asking("a")]).encode(),
        messages(asking("b")),
    ]
    known = [sharer.share_template(row(template_text=TEXT, messages=each)) for each in written]

    assert all(each.startswith(one.prefix) for each, one in zip(written, known, strict=True))
    assert [bool(one.prefix) for one in known] == [True, False, True, True]
    assert known[0] == known[3]
    assert len({one.key for one in known}) == 3


def test_the_messages_of_a_template_lie_in_a_file_once(
    outbox: OpenOutbox, folder: Path, row: MakeRow
) -> None:
    rows = [
        row(request_id=f"r{n}", at=float(n), template_text=TEXT, messages=messages(asking(f"q{n}")))
        for n in range(20)
    ]
    keep(outbox(), *rows)

    content = (folder / "worker-0.db").read_bytes() + (folder / "worker-0.db-wal").read_bytes()
    assert content.count(TEXT.encode()) == 2, "as text and as message"
    assert HarvestReader(folder).rows("cards").rows == rows
    told = run_query(folder, "SELECT messages FROM rows ORDER BY at").rows
    assert [text.encode() for (text,) in told] == [each.messages for each in rows]
    forget(folder, Selection(task="cards"))
    wipe(folder)
    assert not any(TEXT.encode() in path.read_bytes() for path in folder.iterdir())


def test_a_file_from_before_prefixes_is_read_and_written_on(
    outbox: OpenOutbox, folder: Path, row: MakeRow
) -> None:
    old, new = (row(request_id=name, template_text=TEXT, messages=messages(asking("a"))) for name in "ab")
    keep(outbox(), old)
    with closing(sqlite3.connect(folder / "worker-0.db")) as connection, connection:
        connection.execute("UPDATE rows SET messages = ?, template_text = ?", (old.messages, "\x1afeed"))
        connection.execute("UPDATE templates SET key = 'feed'")
        connection.execute("ALTER TABLE templates DROP COLUMN prefix")

    assert HarvestReader(folder).rows("cards").rows == [old]
    assert run_query(folder, "SELECT messages FROM rows").rows == [(old.messages.decode(),)]
    keep(outbox(), new)
    assert HarvestReader(folder).rows("cards").rows == [old, new]


def test_a_row_whose_shared_messages_are_damaged_is_set_aside(
    outbox: OpenOutbox, folder: Path, row: MakeRow
) -> None:
    keep(outbox(), row(template_text=TEXT, messages=messages(asking("a"))), row(request_id="whole"))
    with closing(sqlite3.connect(folder / "worker-0.db")) as connection, connection:
        connection.execute("UPDATE templates SET prefix = ?", (b"[{,",))

    assert [each.request_id for each in HarvestReader(folder).rows("cards").rows] == ["whole"]


def test_redaction_of_a_shared_template_is_that_of_the_whole_conversation(row: MakeRow) -> None:
    """And it is done once: the second row gets the very same text."""
    private = {"role": "system", "content": TEXT + "Write to jane@example.org."}
    given = [
        row(
            template_text=private["content"],
            messages=messages(asking("joe@example.org asks"), before=(private,)),
            private_kinds=("email",),
        )
        for _ in range(2)
    ]
    redactor = RowRedactor()
    one, two = map(redactor.redact_row, given)

    told = msgspec.json.decode(one.messages)
    assert [each["content"] for each in told] == [TEXT + "Write to [email].", "[email] asks"]
    assert one == two
    assert one.template_text is two.template_text


def keep(box: Outbox, *rows: Row) -> None:
    for each in rows:
        assert box.put(each)
    box.flush()
