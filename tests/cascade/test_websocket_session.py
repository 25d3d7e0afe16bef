"""What is said in a websocket is held to the policies, and each response is booked once."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.api.incoming import unread_request
from gateway.cascade.base import Ownership
from gateway.cascade.websocket_session import WebsocketSession
from gateway.core import Budget, IncomingRequest, Outcome, Plan, Request, Reservation
from gateway.errors import BudgetSpentError
from gateway.policy.ownership import ObjectOwnership
from gateway.policy.planner import PolicyPlanner
from gateway.policy.schema import Policy
from gateway.store.database import Database
from gateway.store.objects import ObjectStore
from gateway.wire.endpoints import find_resource
from gateway.wire.long_answer import LongAnswer
from gateway.wire.surfaces import read_outcome
from gateway.wire.websocket.messages import Message
from tests.cascade.fakes import Flow

USAGE = {"total_tokens": 30, "input_tokens": 20, "output_tokens": 10}


class Purse:
    """A budget of so many reservations at a time. Implements BudgetKeeper."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.settled: list[Reservation | None] = []

    async def reserve(self, request: Request, budgets: tuple[Budget, ...]) -> Reservation | None:
        raise NotImplementedError

    async def load_prices(self) -> None:
        raise NotImplementedError

    def set_aside(self, request: Request, budgets: tuple[Budget, ...]) -> Reservation | None:
        if not self.room:
            raise BudgetSpentError("the budget of policy 'p' for this day", resets_at=0.0, now=0.0)
        self.room -= 1
        return Reservation(1.0, budgets)

    def settle(self, reservation: Reservation | None, usd: float) -> None:
        self.room += 1
        self.settled.append(reservation)


@pytest.fixture
def owners(tmp_path: Path) -> Iterator[ObjectStore]:
    database = Database(tmp_path / "state.db")
    yield ObjectStore(database)
    database.close()


class Dialogue:
    """A websocket's session with what it observed."""

    def __init__(
        self,
        *policies: Policy,
        room: int = 9,
        path: str = "/v1/realtime",
        has_own_key: bool = True,
        ownership: Ownership | None = None,
    ) -> None:
        flow = Flow()
        self.purse = Purse(room)
        planner = PolicyPlanner(policies or (Policy(name="p"),), lambda _: 0.0, has_own_key=has_own_key)
        stages = msgspec.structs.replace(
            flow.stages(), planner=planner, budgets=self.purse, ownership=ownership
        )
        self.outcomes: list[Outcome] = flow.outcomes
        incoming = IncomingRequest(
            id="f" * 32,
            caller="app",
            tenant="alice",
            target=path.encode(),
            headers=(),
            body=b"",
            received_at=time.monotonic(),
            resource=find_resource("GET", path),
            may_go_unread=not has_own_key,
        )
        model = "gpt-realtime" if path == "/v1/realtime" else ""
        self.session = WebsocketSession(
            unread_request(incoming, model), Plan(policy="p", may_serve=True), stages
        )

    def client(self, **event: object) -> dict[str, object] | None:
        """Say `event` to the teacher; return the error that the client gets, if it may not pass."""
        objection = self.session.judge(Message(json.dumps(event).encode()))
        return json.loads(objection.event) if objection else None

    def teacher(self, **event: object) -> bool:
        """Say `event` to the client; return whether the websocket goes on."""
        return self.session.note(Message(json.dumps(event).encode())) is None

    async def name(self, **event: object) -> str:
        """Say `event` to the teacher; return the code of the error where it names what is not its own."""
        message = Message(json.dumps(event).encode())
        ids = self.session.find_unknown_ids(message)
        objection = await self.session.check_ids(message, ids) if ids else None
        return str(json.loads(objection.event)["error"]["code"]) if objection else ""

    @property
    def tokens(self) -> list[tuple[int, int]]:
        """Prompt and completion of each response that was booked."""
        usages = [read_outcome(outcome).usage for outcome in self.outcomes]
        return [(usage.prompt_tokens, usage.completion_tokens) for usage in usages if usage]


@pytest.mark.parametrize("kind", ["response.done", "response.completed", "response.incomplete"])
def test_a_response_is_booked_once_by_its_id(kind: str) -> None:
    dialogue = Dialogue()
    dialogue.client(type="response.create")
    dialogue.teacher(type="response.created", response={"id": "r1"})
    for _ in range(3):
        dialogue.teacher(type=kind, response={"id": "r1", "status": "completed", "usage": USAGE})
    dialogue.teacher(type=kind, response={"id": "r2", "status": "completed", "usage": USAGE})

    assert dialogue.tokens == [(20, 10), (20, 10)]
    first, second = dialogue.outcomes
    assert (first.request.model, first.status, first.reservation is None) == ("gpt-realtime", 200, False)
    assert first.request.id != second.request.id


def test_a_very_long_last_event_is_booked() -> None:
    usage = json.dumps({"type": "response.completed", "response": {"id": "r", "usage": USAGE}}).encode()
    dialogue = Dialogue()
    answer = LongAnswer("")
    answer.take(usage)
    dialogue.session.note(Message(b"", excerpt=answer.excerpt()))
    dialogue.session.note(Message(usage))

    assert dialogue.tokens == [(20, 10)]


def test_a_transcript_is_booked_at_the_model_that_wrote_it() -> None:
    dialogue = Dialogue()
    session = {
        "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}},
        "model": "gpt-realtime-2",
    }
    dialogue.teacher(type="session.updated", session=session)
    for _ in range(2):
        dialogue.teacher(
            type="conversation.item.input_audio_transcription.completed",
            item_id="item_1",
            content_index=0,
            usage={"type": "tokens", "input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
        )
    dialogue.teacher(type="response.done", response={"id": "r", "usage": USAGE})

    assert [outcome.request.model for outcome in dialogue.outcomes] == ["gpt-4o-transcribe", "gpt-realtime-2"]
    assert dialogue.tokens == [(5, 2), (20, 10)]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.update", "session": {"model": "gpt-old"}},
        {"type": "response.create", "response": {"model": "gpt-old"}},
        {"type": "response.create", "model": "gpt-old"},
        {
            "type": "session.update",
            "session": {"audio": {"input": {"transcription": {"model": "gpt-old"}}}},
        },
        {"type": "session.update", "session": {"input_audio_transcription": {"model": "GPT-OLD"}}},
    ],
)
def test_a_forbidden_model_does_not_reach_the_teacher(event: dict[str, object]) -> None:
    dialogue = Dialogue(Policy(name="no", models=("gpt-old*",), forbid=True), Policy(name="p"))

    error = dialogue.client(event_id="mine", **event)

    assert error is not None
    said = error["error"]
    assert isinstance(said, dict)
    assert (said["code"], said["event_id"]) == ("forbidden_by_policy", "mine")
    assert dialogue.client(type="response.create") is None, "the websocket goes on"


def test_a_message_that_could_be_read_in_two_ways_is_refused_with_the_gateways_key() -> None:
    content = b'{"type":"response.create","model":"a","model":"b"}'

    refused = Dialogue().session.judge(Message(content))
    passed = Dialogue(has_own_key=False).session.judge(Message(content))

    assert refused is not None
    assert refused.error.code == "duplicate_parameter"
    assert passed is None


def test_bytes_that_are_no_json_pass() -> None:
    assert Dialogue().session.judge(Message(b"\xff\x00", is_binary=True)) is None


def test_a_spent_budget_refuses_and_ends() -> None:
    dialogue = Dialogue(room=0)

    objection = dialogue.session.judge(Message(b'{"type":"response.create"}'))

    assert objection is not None
    assert objection.ends
    assert json.loads(objection.event)["error"]["type"] == "insufficient_quota"


def test_a_response_that_begins_by_itself_needs_a_budget_too() -> None:
    dialogue = Dialogue(room=1)
    assert dialogue.teacher(type="response.created", response={"id": "r1"})
    assert not dialogue.teacher(type="response.created", response={"id": "r2"})

    dialogue.session.close()

    assert [outcome.reservation is None for outcome in dialogue.outcomes] == [False, True]


def test_what_the_teacher_refuses_is_given_back() -> None:
    dialogue = Dialogue(room=2)
    dialogue.client(type="response.create")
    dialogue.client(type="response.create")

    dialogue.teacher(type="error", error={"code": "x"})

    assert dialogue.purse.room == 1
    assert dialogue.outcomes == []


def test_what_was_asked_for_and_never_begun_is_booked_as_read() -> None:
    """As of a client that leaves before an answer over HTTP begins; its Outcome settles the rest."""
    dialogue = Dialogue(room=1)
    dialogue.client(type="response.create")

    dialogue.session.close()

    (outcome,) = dialogue.outcomes
    assert (outcome.is_complete, outcome.reservation is None) == (False, False)
    assert read_outcome(outcome).usage is None


def test_a_response_that_is_broken_off_is_booked_as_far_as_it_came() -> None:
    dialogue = Dialogue(Policy(name="p", paths=("/v1/responses",)), path="/v1/responses")
    assert dialogue.client(type="response.create", model="gpt-5", input="hello") is None
    dialogue.teacher(type="response.created", response={"id": "r1", "model": "gpt-5"})
    dialogue.teacher(type="response.output_text.delta", delta="twelve bytes")
    dialogue.teacher(type="response.output_audio.delta", delta="AAAA")

    dialogue.session.close()
    dialogue.session.close()

    (outcome,) = dialogue.outcomes
    assert (outcome.request.model, outcome.is_complete) == ("gpt-5", False)
    assert read_outcome(outcome).written_bytes == len("twelve bytes")


@pytest.mark.parametrize("name", ["model", "mod\\u0065l", "MODEL"])
def test_no_spelling_of_the_model_hides_it(name: str) -> None:
    """Some servers take any case for the name, and all undo escapes."""
    content = b'{"type":"session.update","session":{"%b":"gpt-old"}}' % name.encode()
    dialogue = Dialogue(Policy(name="no", models=("gpt-old*",), forbid=True), Policy(name="p"))

    assert dialogue.session.judge(Message(content)) is not None


def test_sound_passes_unread() -> None:
    """Even what no JSON parser would take."""
    assert Dialogue().session.judge(Message(b'{"type":"input_audio_buffer.append","audio":"AAAA",}')) is None


def test_a_spent_budget_cuts_no_answer_that_is_paid_for() -> None:
    dialogue = Dialogue(room=1)
    dialogue.client(type="response.create")
    dialogue.teacher(type="response.created", response={"id": "r1"})

    objection = dialogue.session.judge(Message(b'{"type":"response.create"}'))

    assert objection is not None
    assert not objection.ends


def test_transcripts_are_held_to_budgets() -> None:
    """A session that only writes down what was said asks for no response."""
    dialogue = Dialogue(room=1)
    said = {"type": "conversation.item.input_audio_transcription.completed", "usage": USAGE}

    assert dialogue.teacher(**said, item_id="item_1")
    assert not dialogue.teacher(**said, item_id="item_2")
    assert dialogue.tokens == [(20, 10), (20, 10)], "what was written down is paid for"


def test_an_error_about_something_else_gives_nothing_back() -> None:
    dialogue = Dialogue(room=1)
    dialogue.client(type="response.create", event_id="mine")

    dialogue.teacher(type="error", error={"code": "x", "event_id": "another"})

    assert dialogue.purse.room == 0

    dialogue.teacher(type="error", error={"code": "x", "event_id": "mine"})

    assert dialogue.purse.room == 1


def test_a_server_with_one_id_for_all_its_responses_is_booked_for_each() -> None:
    dialogue = Dialogue()
    for _ in range(2):
        dialogue.client(type="response.create")
        dialogue.teacher(type="response.created", response={"id": "r"})
        dialogue.teacher(type="response.done", response={"id": "r", "usage": USAGE})

    assert dialogue.tokens == [(20, 10), (20, 10)]


def test_a_model_that_changes_after_the_question_is_booked() -> None:
    """The session's update and the question may be on their way together."""
    dialogue = Dialogue()
    dialogue.client(type="session.update", session={"model": "gpt-realtime-mini"})
    dialogue.client(type="response.create")
    dialogue.teacher(type="session.updated", session={"model": "gpt-realtime-mini"})
    dialogue.teacher(type="response.created", response={"id": "r"})
    dialogue.teacher(type="response.done", response={"id": "r", "usage": USAGE})

    assert dialogue.outcomes[0].request.model == "gpt-realtime-mini"


def test_a_response_sets_aside_the_longest_answer_that_it_allows() -> None:
    """The realtime API says it within `response`."""
    dialogue = Dialogue()
    dialogue.client(type="response.create", response={"max_output_tokens": 7})
    dialogue.session.close()

    assert json.loads(dialogue.outcomes[0].request.content) == {"max_output_tokens": 7}


@pytest.mark.parametrize(
    ("session", "tokens"),
    [
        ({"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24_000}}}}, 40),
        ({"output_audio_format": "pcm16"}, 40),
        ({"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, 240),
        ({"output_audio_format": "g711_alaw"}, 240),
        ({"audio": {"output": {"format": 7}}}, 40),
    ],
)
def test_a_spoken_answer_that_is_broken_off_is_estimated(session: dict[str, object], tokens: int) -> None:
    """Two seconds of PCM are as many bytes as twelve seconds of G.711."""
    dialogue = Dialogue()
    dialogue.teacher(type="session.created", session=session)
    dialogue.client(type="response.create")
    dialogue.teacher(type="response.created", response={"id": "r"})
    for name in ("response.output_audio.delta", "response.audio.delta"):
        dialogue.teacher(type=name, response_id="r", delta=base64.b64encode(bytes(48_000)).decode())

    dialogue.session.close()

    assert dialogue.outcomes[0].sound_tokens == tokens


def test_what_was_canceled_without_usage_is_booked_as_far_as_it_came() -> None:
    dialogue = Dialogue()
    dialogue.client(type="response.create")
    dialogue.teacher(type="response.created", response={"id": "r"})
    dialogue.teacher(type="response.output_text.delta", response_id="r", delta="twelve bytes")
    dialogue.teacher(type="conversation.item.input_audio_transcription.delta", delta="not the teacher's")
    dialogue.teacher(type="response.done", response={"id": "r", "status": "cancelled", "output": []})

    assert read_outcome(dialogue.outcomes[0]).written_bytes == len("twelve bytes")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-be", "utf-8-sig"])
def test_no_encoding_hides_a_model(encoding: str) -> None:
    """Python's own parser takes all of them in a message of bytes."""
    dialogue = Dialogue(Policy(name="no", models=("gpt-old*",), forbid=True), Policy(name="p"))
    content = json.dumps({"type": "response.create", "model": "gpt-old"}).encode(encoding)

    assert dialogue.session.judge(Message(content, is_binary=True)) is not None


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"previous_response_id": "theirs"}, "previous_response_not_found"),
        ({"conversation": "theirs"}, "object_not_found"),
        ({"conversation": {"id": "theirs"}}, "object_not_found"),
        ({"input": [{"type": "item_reference", "id": "theirs"}]}, "object_not_found"),
        ({"input": [{"role": "user", "content": [{"file_id": "theirs"}]}]}, "object_not_found"),
        ({"previous_response_id": "mine"}, ""),
        ({"previous_response_id": "unheard-of"}, "previous_response_not_found"),
    ],
)
async def test_no_tenant_continues_what_another_has_made(
    owners: ObjectStore, event: dict[str, object], code: str
) -> None:
    owners.add([("mine", "response")], "alice")
    owners.add([("theirs", "response")], "bob")
    dialogue = Dialogue(path="/v1/responses", ownership=ObjectOwnership(owners))

    assert await dialogue.name(type="response.create", model="gpt-5", **event) == code


async def test_a_response_is_its_tenants_from_its_first_event_on(owners: ObjectStore) -> None:
    dialogue = Dialogue(path="/v1/responses", ownership=ObjectOwnership(owners))

    dialogue.teacher(type="response.created", response={"id": "r1"})
    dialogue.teacher(type="response.output_item.done", item={"id": "item_1", "type": "reasoning"})

    assert await dialogue.name(type="response.create", previous_response_id="r1") == ""
    assert (
        await dialogue.name(type="response.create", input=[{"type": "item_reference", "id": "item_1"}]) == ""
    )
    assert owners.find_owners(["r1"]) == {"r1": "alice"}


async def test_a_response_that_is_not_stored_is_continued_in_its_websocket_alone(owners: ObjectStore) -> None:
    ownership = ObjectOwnership(owners)
    dialogue = Dialogue(path="/v1/responses", ownership=ownership)
    dialogue.teacher(type="response.created", response={"id": "r1", "store": False})
    other = Dialogue(path="/v1/responses", ownership=ownership)
    asked = {"type": "response.create", "previous_response_id": "r1"}

    assert await dialogue.name(**asked) == ""
    assert await other.name(**asked) == "previous_response_not_found"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "conversation.item.create", "item": {"id": "own-name", "type": "message"}}, ""),
        ({"type": "response.cancel", "response_id": "r1"}, ""),
        (
            {
                "type": "response.create",
                "response": {
                    "conversation": "none",
                    "input": [{"type": "item_reference", "id": "own-name"}],
                },
            },
            "",
        ),
        ({"type": "session.update", "session": {"prompt": {"id": "theirs"}}}, "object_not_found"),
        ({"type": "response.create", "response": {"prompt": {"id": "theirs"}}}, "object_not_found"),
    ],
)
async def test_the_parts_of_a_realtime_session_are_its_own(
    owners: ObjectStore, event: dict[str, object], code: str
) -> None:
    owners.add([("theirs", "prompt")], "bob")

    assert await Dialogue(ownership=ObjectOwnership(owners)).name(**event) == code


async def test_a_long_text_hides_no_id(owners: ObjectStore) -> None:
    dialogue = Dialogue(path="/v1/responses", ownership=ObjectOwnership(owners))
    asked = {"type": "response.create", "input": "x" * 5_000, "previous_response_id": "theirs"}

    assert await dialogue.name(**asked) == "previous_response_not_found"


def test_an_odd_field_of_a_response_loses_only_itself() -> None:
    dialogue = Dialogue()
    for _ in range(2):
        dialogue.teacher(type="response.done", response={"id": "r", "store": "often", "usage": USAGE})

    assert dialogue.tokens == [(20, 10)]
