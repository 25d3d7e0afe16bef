"""When the teacher is asked again: only where it is safe, not for ever, and not too soon."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.core import Header
from gateway.errors import UpstreamCredentialError, UpstreamError, UpstreamTimeoutError
from gateway.upstream.base import Call, Config, Reply
from gateway.upstream.retry import is_retryable, retry_failed, wait_before_retry

CHAT = Call(method="POST", target=b"/v1/chat/completions", headers=(), body=b"{}", is_repeatable=True)
UPLOAD = Call(method="POST", target=b"/v1/files", headers=(), body=b"{}")
UNSENT = UpstreamError("refused", was_sent=False)
LOST = UpstreamError("reset")
LATE = UpstreamTimeoutError("no head in 600 s")


class FakeBody:
    """A body without bytes which knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def __aiter__(self) -> FakeBody:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.is_closed = True


def reply(status: int, *headers: Header) -> Reply:
    return Reply(status=status, headers=headers, body=FakeBody())


class Asked:
    """Gives the scripted attempts one after the other; collects the waits between them."""

    def __init__(self, *attempts: Reply | UpstreamError) -> None:
        self.attempts = list(attempts)
        self.waits: list[float] = []

    async def once(self, call: Call) -> Reply | UpstreamError:
        return self.attempts.pop(0)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def patiently(
        self,
        call: Call = CHAT,
        config: Config = Config(),  # noqa: B008 - frozen
        *,
        paid: int = 100,
        has_fallback: bool = False,
    ) -> Reply:
        """Ask until the retries end, of which `paid` are within the budget."""
        budget = iter(range(paid))
        return await retry_failed(
            await self.once(call),
            self.once,
            call,
            config,
            take_retry=lambda: next(budget, None) is not None,
            has_fallback=has_fallback,
            random=lambda: 1.0,
            sleep=self.sleep,
        )


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_a_passing_failure_is_asked_again(status: int) -> None:
    given = await Asked(reply(status), reply(200)).patiently()

    assert (given.status, given.retries) == (200, 1)


@pytest.mark.parametrize("status", [200, 304, 400, 401, 403, 404, 422])
async def test_a_final_answer_is_not_asked_again(status: int) -> None:
    assert await Asked(given := reply(status)).patiently() is given


async def test_a_discarded_reply_is_closed() -> None:
    first = reply(500)

    await Asked(first, reply(200)).patiently()

    assert isinstance(first.body, FakeBody)
    assert first.body.is_closed


async def test_waits_double_between_retries() -> None:
    asked = Asked(reply(500), reply(500), reply(200))

    await asked.patiently()

    assert asked.waits == [0.5, 1.0]


async def test_spent_retries_tell_the_client_not_to_multiply_them() -> None:
    given = await Asked(reply(503), reply(503), reply(503, (b"x-should-retry", b"true"))).patiently()

    assert (given.headers, given.retries) == (((b"x-should-retry", b"false"),), 2)


async def test_without_retries_of_ours_the_client_keeps_its_own() -> None:
    given = await Asked(reply(503)).patiently(config=Config(retries=0))

    assert given.headers == ()


async def test_without_a_paid_retry_the_failure_is_the_answer() -> None:
    given = await Asked(failed := reply(503)).patiently(paid=0)

    assert given is failed


async def test_another_teacher_is_sooner_there_than_a_second_try() -> None:
    asked = Asked(failed := reply(503), reply(200))

    assert await asked.patiently(has_fallback=True) is failed
    assert asked.waits == []


async def test_a_short_wait_that_the_teacher_asks_for_is_waited_before_another_is_asked() -> None:
    asked = Asked(reply(429, (b"retry-after-ms", b"50")), reply(200))

    assert (await asked.patiently(has_fallback=True)).status == 200
    assert asked.waits == [0.05]


async def test_our_own_key_that_is_refused_is_refused_again() -> None:
    with pytest.raises(UpstreamCredentialError) as exc:
        await Asked(UpstreamCredentialError("401"), reply(200)).patiently()

    assert not exc.value.was_retried


async def test_an_error_says_whether_it_was_asked_again() -> None:
    with pytest.raises(UpstreamError) as once:
        await Asked(UpstreamError("reset")).patiently(UPLOAD)
    with pytest.raises(UpstreamError) as thrice:
        await Asked(*(UpstreamError("reset") for _ in range(3))).patiently()

    assert (once.value.was_retried, thrice.value.was_retried) == (False, True)


async def test_spent_retries_raise_the_last_error() -> None:
    with pytest.raises(UpstreamError, match="reset"):
        await Asked(UNSENT, LOST, LOST).patiently()


async def test_a_long_retry_after_is_the_clients_to_wait_for() -> None:
    limited = reply(429, (b"retry-after", b"30"))

    assert await Asked(limited).patiently() is limited


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ((b"retry-after", b"1"), 1.0),
        ((b"retry-after-ms", b"250"), 0.25),
        ((b"retry-after", b"2.5"), None),
        ((b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT"), None),
        ((b"retry-after", b"-1"), 0.0),
        ((b"retry-after", b"nan"), 0.0),
    ],
)
def test_a_short_retry_after_is_honoured(header: Header, wait_s: float | None) -> None:
    assert wait_before_retry(reply(429, header), 0, Config(), 0.5) == wait_s


@pytest.mark.parametrize(("status", "wait_s"), [(429, 0.0), (503, 0.0), (529, 0.0), (500, 0.5)])
def test_where_the_limit_adapts_what_was_too_much_waits_for_a_place_alone(status: int, wait_s: float) -> None:
    assert wait_before_retry(reply(status), 0, Config(adapts_in_flight=True), 1.0) == wait_s


def test_jitter_is_full() -> None:
    waits = [wait_before_retry(LOST, 1, Config(), chance) for chance in (0.0, 0.5, 1.0)]

    assert waits == [0.0, 0.5, 1.0]


def test_what_was_never_sent_may_always_be_sent_again() -> None:
    assert is_retryable(UNSENT, UPLOAD)


@pytest.mark.parametrize("attempt", [LOST, reply(429), reply(500)])
def test_what_may_not_be_repeated_is_not(attempt: Reply | UpstreamError) -> None:
    assert not is_retryable(attempt, UPLOAD)


def test_a_streamed_body_cannot_be_sent_twice() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b""

    call = Call(method="POST", target=b"/", headers=(), body=body(), is_repeatable=True)

    assert not is_retryable(LOST, call)


def test_a_head_which_took_minutes_is_not_waited_for_again() -> None:
    assert not is_retryable(LATE, CHAT)


@pytest.mark.parametrize(("wish", "status", "verdict"), [(b"false", 500, False), (b"true", 400, True)])
def test_the_teachers_own_wish_counts(wish: bytes, status: int, verdict: bool) -> None:
    assert is_retryable(reply(status, (b"x-should-retry", wish)), CHAT) is verdict
