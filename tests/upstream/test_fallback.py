"""Another teacher answers where the first cannot: before the first byte, and not for what is bound to one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest

from gateway.core import Secret
from gateway.errors import UpstreamError
from gateway.upstream.base import Call, Config, Reply, Transport
from gateway.upstream.fallback import FallbackTeacher, Member
from gateway.upstream.guarded import GuardedTeacher
from gateway.upstream.limited import LimitedTeacher
from gateway.upstream.providers.openai import create
from gateway.upstream.transport import create_transport
from tests.support.waiting import PATIENCE_S
from tests.upstream.conftest import OK, RawTeacher, read
from tests.upstream.ways import serving

CHAT = Call(method="POST", target=b"/v1/chat/completions", headers=(), body=b"{}", is_repeatable=True)
BOUND = msgspec.structs.replace(CHAT, is_bound=True)
EMBEDDINGS = msgspec.structs.replace(CHAT, target=b"/v1/embeddings", needs_same_model=True)
UPLOAD = Call(method="POST", target=b"/v1/files", headers=(), body=b"x")


def answer(status: int, body: bytes = b"", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n%b\r\n%b" % (status, len(body), more, body)


class House:
    """Two teachers, and the calls that reach them."""

    def __init__(self, first: RawTeacher, second: RawTeacher, client: Transport) -> None:
        self.first, self.second = first, second
        self.guarded = [self._guard(name, raw, client) for name, raw in (("a", first), ("b", second))]
        self.teacher = self.over()

    def over(self, **more: object) -> FallbackTeacher:
        """Return both as one; `more` is said of the first."""
        first, second = self.guarded
        return FallbackTeacher([Member(teacher=first, **more), Member(teacher=second)])  # type: ignore[arg-type]

    @staticmethod
    def _guard(name: str, raw: RawTeacher, client: Transport) -> GuardedTeacher:
        config = Config(base_url=raw.origin, api_key=Secret("sk"), first_wait_s=0.001)
        return GuardedTeacher(create(config, client), config, name=name)


@asynccontextmanager
async def raw_teacher() -> AsyncIterator[RawTeacher]:
    teacher = RawTeacher()
    server = await asyncio.start_server(teacher.serve, "127.0.0.1", 0)
    teacher.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield teacher
    server.close()


@pytest.fixture
async def house(client: Transport) -> AsyncIterator[House]:
    async with raw_teacher() as first, raw_teacher() as second:
        house = House(first, second, client)
        yield house
        await house.teacher.close()


async def test_the_first_that_is_well_answers(house: House) -> None:
    reply = await house.teacher.ask(CHAT)

    assert (reply.served_by, reply.is_lesson, await read(reply.body)) == ("a", True, b"ok")
    assert house.second.asked == []


@pytest.mark.parametrize(
    "failure",
    [
        None,
        answer(500),
        answer(503),
        answer(401),
        answer(429, more=b"retry-after: 60\r\n"),
        b"no http\r\n\r\n",
    ],
    ids=["lost", "500", "503", "own key refused", "long retry-after", "garbage"],
)
async def test_a_failure_before_the_first_byte_moves_the_call(house: House, failure: bytes | None) -> None:
    house.first.script = [failure]

    reply = await house.teacher.ask(CHAT)

    assert (reply.status, reply.served_by, await read(reply.body)) == (200, "b", b"ok")
    assert len(house.first.asked) == 1


async def test_a_fallbacks_answer_is_no_lesson(house: House) -> None:
    house.first.script = [answer(500)]

    assert not (await house.teacher.ask(CHAT)).is_lesson


async def test_answers_of_a_teacher_that_may_not_teach_are_no_lesson(house: House) -> None:
    assert not (await house.over(is_trainable=False).ask(CHAT)).is_lesson


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_what_the_client_did_wrong_is_wrong_everywhere(house: House, status: int) -> None:
    house.first.script = [answer(status)]

    assert (await house.teacher.ask(CHAT)).served_by == "a"
    assert house.second.asked == []


async def test_a_short_wait_is_waited_before_another_teacher_is_asked(house: House) -> None:
    house.first.script = [answer(429, more=b"retry-after-ms: 1\r\n")]

    assert (await house.teacher.ask(CHAT)).served_by == "a"


@pytest.mark.parametrize("call", [BOUND, UPLOAD], ids=["stateful", "not repeatable"])
async def test_what_is_bound_to_one_teacher_stays_there(house: House, call: Call) -> None:
    house.first.script = [answer(503)] * 4

    assert (await house.teacher.ask(call)).served_by == "a"
    assert house.second.asked == []


async def test_a_policy_names_its_teachers_in_its_order(house: House) -> None:
    reply = await house.teacher.ask(msgspec.structs.replace(CHAT, teachers=("b", "a")))

    assert (reply.served_by, reply.is_lesson) == ("b", True)


async def test_weights_draw_the_teacher_that_is_asked_first_and_only_the_first_named_teaches(
    house: House,
) -> None:
    drawn = msgspec.structs.replace(CHAT, teachers=("a", "b"), weights=(3.0, 1.0))
    random.seed(1)

    replies = [await house.teacher.ask(drawn) for _ in range(200)]

    served = [reply.served_by for reply in replies]
    assert 25 < served.count("b") < 75
    assert {(reply.served_by, reply.is_lesson) for reply in replies} == {("a", True), ("b", False)}


async def test_a_teacher_without_a_share_is_asked_where_others_cannot_answer(house: House) -> None:
    drawn = msgspec.structs.replace(CHAT, teachers=("a", "b"), weights=(0.0, 1.0))
    house.second.script = [answer(200), answer(500)]

    assert [(await house.teacher.ask(drawn)).served_by for _ in range(2)] == ["b", "a"]


async def test_what_is_bound_is_not_drawn(house: House) -> None:
    bound = msgspec.structs.replace(BOUND, teachers=("a", "b"), weights=(0.0, 1.0))

    assert (await house.teacher.ask(bound)).served_by == "a"


async def test_a_teacher_that_stalls_is_left_as_soon_as_it_does_not_answer_a_check_either(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time-out of 600 s, five times, would be 50 minutes."""
    monkeypatch.setattr("gateway.upstream.guarded.CHECK_TIMEOUT_S", 0.05)
    house.first.script = [b""] * 20
    teacher = house.over(suspect_after_s=0.05)

    replies = await asyncio.wait_for(asyncio.gather(*(teacher.ask(CHAT) for _ in range(5))), PATIENCE_S)

    assert {(reply.status, reply.served_by) for reply in replies} == {(200, "b")}
    assert house.guarded[0].circuit.is_open
    assert house.guarded[0].failures == 5
    assert len([asked for asked in house.first.asked if asked.startswith(b"GET")]) == 1
    await teacher.close()


async def test_a_teacher_that_only_thinks_passes_its_checks_and_is_waited_for(house: House) -> None:
    thinking = house.first
    released = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            thinking.asked.append(head)
            if head.startswith(b"POST"):
                await released.wait()
            writer.write(OK)

    async with serving(serve) as port:
        config = Config(base_url=f"http://127.0.0.1:{port}", api_key=Secret("sk"))
        client = create_transport(config)
        guarded = GuardedTeacher(create(config, client), config, name="thinking")
        members = [Member(teacher=guarded, suspect_after_s=0.02), Member(teacher=house.guarded[1])]
        teacher = FallbackTeacher(members)
        call = asyncio.create_task(teacher.ask(CHAT))
        async with asyncio.timeout(PATIENCE_S):
            while len([head for head in thinking.asked if head.startswith(b"GET")]) < 2:
                await asyncio.sleep(0.01)
        released.set()
        assert (await call).served_by == "thinking"
        await teacher.close()


async def test_one_time_out_without_any_answer_opens_the_circuit(house: House) -> None:
    house.first.script = [b""]
    config = Config(base_url=house.first.origin, api_key=Secret("sk"), first_byte_timeout_s=0.05)
    client = create_transport(config)
    silent = GuardedTeacher(create(config, client), config, name="silent")
    teacher = FallbackTeacher([Member(teacher=silent), Member(teacher=house.guarded[1])])

    assert (await teacher.ask(CHAT)).served_by == "b"

    assert silent.circuit.is_open
    await teacher.close()


async def test_a_teacher_that_is_full_is_passed_by(house: House) -> None:
    config = Config(base_url=house.first.origin, api_key=Secret("sk"), max_in_flight=1)
    client = create_transport(config)
    full = LimitedTeacher(create(config, client), config, name="full")
    teacher = FallbackTeacher([Member(teacher=full), Member(teacher=house.guarded[1])])

    first, second = await teacher.ask(CHAT), await teacher.ask(CHAT)

    assert (first.served_by, second.served_by) == ("full", "b")
    assert not full.circuit.is_open
    await teacher.close()


async def test_an_open_circuit_is_passed_by_and_checked_until_it_is_well(house: House) -> None:
    house.first.script = [answer(503)] * 5
    while not house.guarded[0].circuit.is_open:
        await house.teacher.ask(CHAT)
    asked = len(house.first.asked)

    assert (await house.teacher.ask(CHAT)).served_by == "b"
    assert len(house.first.asked) == asked

    async with asyncio.timeout(PATIENCE_S):
        while (await house.teacher.ask(CHAT)).served_by != "a":
            await asyncio.sleep(0.05)
    assert house.first.asked[asked].startswith(b"GET /v1/models ")
    assert house.guarded[0].circuit.state == "closed"


async def test_a_teacher_that_a_check_found_well_is_the_last_resort(house: House) -> None:
    circuit = house.guarded[0].circuit
    for _ in range(5):
        circuit.note_failure(0)
    circuit.note_check(is_well=True)
    assert circuit.begin_trial(), "one request is on its way to it"
    house.second.script = [answer(500)]

    assert (await house.teacher.ask(CHAT)).served_by == "a"


async def test_a_teacher_whose_answers_break_off_is_left(house: House) -> None:
    """What has begun cannot be saved; what comes after it can."""
    house.first.script = [b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\nhalf"] * 8
    served = []
    for _ in range(8):
        reply = await house.teacher.ask(CHAT)
        house.first.hang_up()
        served.append(reply.served_by)
        with suppress(UpstreamError):
            await read(reply.body)

    assert served == ["a"] * 5 + ["b"] * 3


async def test_where_all_circuits_are_open_each_teacher_is_tried(house: House) -> None:
    """The first may be gone for hours while the second had a bad moment."""
    for guarded in house.guarded:
        guarded.circuit.trip()
    house.first.script = [None]

    assert (await house.teacher.ask(CHAT)).served_by == "b"


async def test_a_trial_does_not_wait_for_a_teacher_that_stalls_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstream.guarded.CHECK_TIMEOUT_S", 0.05)
    circuit = house.guarded[0].circuit
    circuit.trip()
    circuit.note_check(is_well=True)
    house.first.script = [b""] * 2
    teacher = house.over(suspect_after_s=0.05)

    reply = await asyncio.wait_for(teacher.ask(CHAT), PATIENCE_S)

    assert reply.served_by == "b"
    assert circuit.state == "open"
    await teacher.close()


async def test_vectors_of_another_model_are_no_fallback(house: House) -> None:
    """They belong to another space, and would spoil an index without a word."""
    first, second = house.guarded
    call = msgspec.structs.replace(EMBEDDINGS, weights=(0.0, 1.0), teachers=("a", "b"))
    teacher = FallbackTeacher([Member(teacher=first), Member(teacher=second, models={"*": "llama"})])
    house.first.script = [answer(400), answer(503, more=b"retry-after: 60\r\n")]

    assert [(await teacher.ask(call)).served_by for _ in range(2)] == ["a", "a"]
    assert house.second.asked == []
    await teacher.close()


async def test_vectors_of_the_same_model_are(house: House) -> None:
    house.first.script = [answer(500)]

    assert (await house.teacher.ask(EMBEDDINGS)).served_by == "b"


async def test_a_stateful_call_is_tried_although_the_circuit_is_open(house: House) -> None:
    for _ in range(5):
        house.guarded[0].circuit.note_failure(0)

    assert (await house.teacher.ask(BOUND)).served_by == "a"


async def test_where_all_fail_the_client_is_told_not_to_multiply_it(house: House) -> None:
    house.first.script, house.second.script = [answer(503)], [answer(500, b"theirs")] * 3

    reply = await house.teacher.ask(CHAT)

    assert (reply.status, reply.served_by, await read(reply.body)) == (500, "b", b"theirs")
    assert (b"x-should-retry", b"false") in reply.headers


async def test_where_nothing_answers_the_last_error_is_raised(house: House) -> None:
    house.first.script, house.second.script = [None], [None] * 3

    with pytest.raises(UpstreamError) as exc:
        await house.teacher.ask(CHAT)
    assert exc.value.was_retried


async def test_what_two_half_broken_teachers_are_asked_stays_within_bounds(house: House) -> None:
    """A tenth of the answers fails: no client sees it, and neither teacher is asked for much more."""
    requests = 300
    house.first.script = [answer(500) if each % 10 == 0 else answer(200) for each in range(requests)]

    replies: list[Reply] = [await house.teacher.ask(CHAT) for _ in range(requests)]

    assert {reply.status for reply in replies} == {200}
    assert len(house.first.asked) <= 1.12 * requests
    assert house.guarded[0].circuit.state == "closed"


@pytest.mark.parametrize(
    ("models", "sent"),
    [
        ({"gpt-4o": "chat"}, b'{"n":1.50,"model":"chat"}'),
        ({"*": "any"}, b'{"n":1.50,"model":"any"}'),
        ({"gpt-5": "chat"}, b'{"n": 1.50, "model": "gpt-4o"}'),
    ],
)
async def test_each_teacher_gets_its_own_name_of_the_model(
    house: House, models: dict[str, str], sent: bytes
) -> None:
    call = msgspec.structs.replace(CHAT, body=b'{"n": 1.50, "model": "gpt-4o"}')
    house.first.script = [answer(500)]

    await house.over(models=models).ask(call)

    assert house.first.asked[0].endswith(sent)
    assert house.second.asked[0].endswith(call.body)  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [b"", b"[]", b"no json", b'{"model": 1}', b"{}"])
async def test_a_body_that_names_no_model_passes_as_it_is(house: House, body: bytes) -> None:
    await house.over(models={"*": "any"}).ask(msgspec.structs.replace(CHAT, body=body))

    assert house.first.asked[0].endswith(b"\r\n\r\n" + body)
