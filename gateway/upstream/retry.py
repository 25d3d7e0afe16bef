"""When a teacher is asked again, and how long after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from gateway.core import Header
from gateway.errors import UpstreamError, UpstreamTimeoutError
from gateway.upstream.base import Call, Config, Reply

# Our own retries are spent; the client's would only multiply them.
DO_NOT_RETRY: Header = (b"x-should-retry", b"false")

Attempt = Reply | UpstreamError
"""How one attempt ended: any reply, or no reply at all."""


async def send_with_retries(
    ask: Callable[[Call], Awaitable[Reply]],
    call: Call,
    config: Config,
    *,
    random: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> Reply:
    """Return the reply to `call` after as many retries as its policy allows.

    `random` yields 0..1. A retryable reply that is handed on because the retries are spent
    says `x-should-retry: false`, lest the client's retries multiply with ours. Raises the
    last UpstreamError.
    """
    retries = 0
    while True:
        attempt = await _attempt(ask, call)
        if not is_retryable(attempt, call):
            break
        if retries == config.retries:
            attempt = _spent(attempt) if retries else attempt
            break
        wait_s = wait_before_retry(attempt, retries, config, random())
        if wait_s is None:
            break
        if isinstance(attempt, Reply):
            await attempt.body.aclose()
        await sleep(wait_s)
        retries += 1
    if isinstance(attempt, UpstreamError):
        attempt.was_retried = retries > 0
        raise attempt
    return msgspec.structs.replace(attempt, retries=retries) if retries else attempt


def is_retryable(attempt: Attempt, call: Call) -> bool:
    """Return whether asking again is safe and may help.

    What was never sent may always be sent again. Anything else only if `call` is repeatable:
    lost connections, the teacher's x-should-retry, else 408, 409, 429 and 5xx. A head which
    did not come within minutes is not waited for again.
    """
    if isinstance(attempt, UpstreamError) and not attempt.was_sent:
        return True
    if not call.is_repeatable or not isinstance(call.body, bytes):
        return False
    if isinstance(attempt, UpstreamError):
        return not isinstance(attempt, UpstreamTimeoutError)
    if attempt.status < 400:
        return False
    if wish := _header(attempt, DO_NOT_RETRY[0]):
        return wish == b"true"
    return attempt.status in {408, 409, 429} or attempt.status >= 500


def wait_before_retry(attempt: Attempt, retries: int, config: Config, chance: float) -> float | None:
    """Return the seconds to wait after `attempt`, None when the teacher wants more than is sensible.

    The teacher's retry-after-ms or retry-after, else exponential with full jitter by
    `chance` (0..1). A retry-after date counts as too long: it needs no clock then.
    """
    if isinstance(attempt, Reply) and (asked := _asked_wait(attempt)) is not None:
        return asked if asked <= config.longest_wait_s else None
    longest_s: float = config.first_wait_s * 2**retries
    return chance * min(config.longest_wait_s, longest_s)


def _asked_wait(reply: Reply) -> float | None:
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        if value := _header(reply, name):
            try:
                return max(0.0, float(value) * unit_s)
            except ValueError:
                return float("inf")
    return None


async def _attempt(ask: Callable[[Call], Awaitable[Reply]], call: Call) -> Attempt:
    try:
        return await ask(call)
    except UpstreamError as exc:
        return exc


def _spent(attempt: Attempt) -> Attempt:
    if isinstance(attempt, UpstreamError) or _header(attempt, DO_NOT_RETRY[0]) == b"false":
        return attempt
    others = tuple(header for header in attempt.headers if header[0] != DO_NOT_RETRY[0])
    return msgspec.structs.replace(attempt, headers=(*others, DO_NOT_RETRY))


def _header(reply: Reply, name: bytes) -> bytes | None:
    return next((value for key, value in reply.headers if key == name), None)
