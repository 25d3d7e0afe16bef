"""The contract of every format of the harvest."""

from __future__ import annotations

import io
from typing import Any, cast

import pytest

from gateway.config import plugins
from gateway.harvest.base import Format, Row

PACKAGE = "gateway.harvest.formats"
FORMATS = [
    pytest.param(plugins.load_plugin(PACKAGE, name), id=name) for name in plugins.list_plugins(PACKAGE)
]

pytestmark = pytest.mark.parametrize("module", FORMATS)


def row(n: int, **changes: Any) -> Row:
    facts: dict[str, Any] = {
        "request_id": f"req-{n}",
        "at": float(n),
        "task": "cards",
        "match": "fingerprint",
        "template": "feed",
        "model": "giant",
        "template_text": "",
        "contract_hash": "",
        "text": f"question {n}",
        "answer": f'answer {n}: "äöü" \n and more',
        "messages": b'[{"role":"user","content":"question"}]',
        "is_held_out": False,
        "propensity": 0.0,
    }
    return Row(**facts | changes)


def written(module: object, rows: list[Row], **options: bool) -> tuple[int, bytes]:
    stream = io.BytesIO()
    count = cast(Format, module).write(iter(rows), stream, **options)
    return count, stream.getvalue()


def test_held_out_rows_are_left_out_by_default(module: object) -> None:
    """Training on evidence voids the certificates."""
    evidence = row(7, answer="held-out answer", is_held_out=True)

    count, content = written(module, [row(1), evidence, row(2)])

    assert count == 2
    assert b"held-out answer" not in content


def test_held_out_rows_are_written_on_request(module: object) -> None:
    count, content = written(module, [row(7, answer="held-out answer", is_held_out=True)], with_held_out=True)

    assert count == 1
    assert b"held-out answer" in content


def test_an_empty_harvest_is_no_error(module: object) -> None:
    assert written(module, [])[0] == 0


def test_the_same_rows_give_the_same_bytes(module: object) -> None:
    """A data set can be reproduced."""
    rows = [row(n) for n in range(5)]

    assert written(module, rows) == written(module, rows)
