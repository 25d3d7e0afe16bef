"""The owners of stored answers of the two APIs that specialists serve, and what is not looked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.core import Plan, Request
from gateway.errors import RequestError
from gateway.policy.ownership import ObjectOwnership
from gateway.store.database import Database
from gateway.store.objects import ObjectStore
from gateway.wire.endpoints import find_resource
from tests.support.builders import request

PLAN = Plan(policy="p", may_serve=True)


@pytest.fixture
def owners(tmp_path: Path) -> Iterator[ObjectStore]:
    database = Database(tmp_path / "state.db")
    yield ObjectStore(database)
    database.close()


def ask(path: str, *, tenant: str = "alice", body: bytes = b"{}", is_stored: bool = True) -> Request:
    return msgspec.structs.replace(
        request(), resource=find_resource("POST", path), tenant=tenant, body=body, is_stored=is_stored
    )


async def pieces(*parts: bytes) -> AsyncGenerator[bytes]:
    for part in parts:
        yield part


async def read(owners: ObjectStore, asked: Request, *parts: bytes, is_stream: bool = False) -> bytes:
    body = ObjectOwnership(owners).note_owner(asked, pieces(*parts), is_stream=is_stream)
    return b"".join([piece async for piece in body])


@pytest.mark.parametrize(
    ("path", "is_stored", "follows"),
    [
        ("/v1/chat/completions", False, False),
        ("/v1/chat/completions", True, True),
        ("/v1/responses", True, True),
        ("/v1/responses", False, True),
        ("/v1/embeddings", True, False),
    ],
)
def test_only_answers_that_may_make_objects_are_held_back(
    owners: ObjectStore, path: str, is_stored: bool, follows: bool
) -> None:
    """A plain chat is not touched. Any answer of the Responses API may have run code in a container."""
    assert ObjectOwnership(owners).follows(ask(path, is_stored=is_stored)) is follows


async def test_a_stored_completion_is_its_callers(owners: ObjectStore) -> None:
    answer = b'{"id":"chatcmpl-1","object":"chat.completion","choices":[]}'

    assert await read(owners, ask("/v1/chat/completions"), answer[:9], answer[9:]) == answer

    assert owners.find_owners(["chatcmpl-1"]) == {"chatcmpl-1": "alice"}


async def test_a_response_that_is_not_stored_leaves_no_object(owners: ObjectStore) -> None:
    await read(owners, ask("/v1/responses", is_stored=False), b'{"id":"resp_1","object":"response"}')

    assert owners.list_objects() == []


async def test_an_unreadable_answer_passes(owners: ObjectStore) -> None:
    assert await read(owners, ask("/v1/responses"), b"\x1f\x8b\x00") == b"\x1f\x8b\x00"


async def test_the_next_turn_is_its_own_tenants_alone(owners: ObjectStore) -> None:
    await read(owners, ask("/v1/responses"), b'{"id":"resp_1","object":"response"}')
    turn = b'{"model":"m","input":"x","previous_response_id":"resp_1"}'

    await ObjectOwnership(owners).check(ask("/v1/responses", body=turn), PLAN)
    with pytest.raises(RequestError, match="resp_1"):
        await ObjectOwnership(owners).check(ask("/v1/responses", body=turn, tenant="bob"), PLAN)


async def test_an_encoding_hides_no_object(owners: ObjectStore) -> None:
    await read(owners, ask("/v1/responses"), b'{"id":"resp_1","object":"response"}')
    turn = b'{"model":"m","input":"x","previous_response_id":"resp_1"}'
    encoded = msgspec.structs.replace(ask("/v1/responses", body=b"packed", tenant="bob"), decoded=turn)

    with pytest.raises(RequestError, match="resp_1"):
        await ObjectOwnership(owners).check(encoded, PLAN)


async def test_shared_objects_are_not_looked_up(owners: ObjectStore) -> None:
    plan = msgspec.structs.replace(PLAN, shares_objects=True)

    await ObjectOwnership(owners).check(ask("/v1/responses", body=b'{"file_id":"f"}'), plan)


def test_the_first_owner_stays_and_a_claim_moves_it(owners: ObjectStore) -> None:
    owners.add([("f", "file")], "alice")
    owners.add([("f", "file")], "bob")
    owners.flush()
    assert owners.find_owners(["f"]) == {"f": "alice"}

    assert owners.claim("f", "file", "bob") == "alice"
    assert owners.find_owners(["f"]) == {"f": "bob"}


def test_answers_are_forgotten_when_the_teacher_has_deleted_them(tmp_path: Path) -> None:
    now = [0.0]
    database = Database(tmp_path / "state.db")
    owners = ObjectStore(database, lambda: now[0])
    owners.add([("r", "response"), ("f", "file")], "alice")
    owners.flush()

    now[0] = 41 * 86_400
    assert owners.prune() == 1

    assert [one.id for one in owners.list_objects()] == ["f"]
    database.close()
