"""What we cannot read is described for the teacher, who may."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core import Request
from gateway.errors import UnreadableBodyError
from gateway.wire.unread import describe_unread
from tests.support.builders import incoming

CAUSE = UnreadableBodyError("cannot", reason="unreadable field", param="stop")


def describe(*headers: tuple[bytes, bytes], **fields: Any) -> Request:
    body = json.dumps({"model": "giant", "stop": 7, **fields}).encode()
    return describe_unread(incoming(body=body, headers=headers), "chat", CAUSE)


def test_policies_and_accounts_still_see_the_model_and_the_size() -> None:
    request = describe(stream=True)

    assert (request.model, request.is_streamed) == ("giant", True)
    assert request.messages[0].text == request.body.decode()


def test_it_is_the_teachers_alone_and_never_kept() -> None:
    request = describe()

    assert request.unsupported_reason == "unreadable field"
    assert not request.may_harvest


@pytest.mark.parametrize("model", [7, None, ["giant"], {}])
def test_a_model_of_another_type_is_no_model(model: object) -> None:
    assert describe(model=model).model == ""


def test_of_a_body_in_an_unknown_coding_nothing_is_said() -> None:
    request = describe((b"content-encoding", b"zpaq"))

    assert (request.model, request.is_streamed, request.messages[0].text) == ("", False, "")


def test_a_model_of_ours_could_not_answer_it_so_the_client_hears_why() -> None:
    with pytest.raises(UnreadableBodyError):
        describe(model="stepdown/cards")
    with pytest.raises(UnreadableBodyError):
        describe((b"x-stepdown-mode", b"local"))
