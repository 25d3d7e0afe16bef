"""Whether a request may be kept: of key, header and `store`, the strictest wins."""

from __future__ import annotations

import json

import pytest

from gateway.core import Grant, Header
from gateway.wire.chat.request import read_chat
from gateway.wire.responses.request import read_responses
from tests.support.builders import incoming

OFF: Header = (b"x-stepdown-harvest", b"off")
ON: Header = (b"x-stepdown-harvest", b"on")
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
RESPONSES = {"model": "m", "input": "hi"}


@pytest.mark.parametrize("body", [CHAT, RESPONSES], ids=["chat", "responses"])
@pytest.mark.parametrize(
    ("by_key", "header", "store", "is_kept"),
    [
        (True, (), None, True),
        (True, (ON,), True, True),
        (False, (ON,), True, False),
        (True, (OFF,), True, False),
        (True, (ON,), False, False),
    ],
    ids=["nothing said", "all allow", "the key", "the header", "the body"],
)
def test_each_may_forbid_and_none_may_allow_what_another_forbids(
    body: dict[str, object], by_key: bool, header: tuple[Header, ...], store: bool | None, is_kept: bool
) -> None:
    read = read_chat if body is CHAT else read_responses
    content = json.dumps({**body, "store": store}).encode()

    request = read(incoming(body=content, headers=header, grant=Grant(may_harvest=by_key)))

    assert request.may_harvest == is_kept
