"""When a teacher is asked again, and how long after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from gateway.core import Header
from gateway.errors import UpstreamBusyError, UpstreamCredentialError, UpstreamError, UpstreamTimeoutError
from gateway.upstream.base import Call, Config, Reply

# Our own retries are spent; the client's would only multiply them.
DO_NOT_RETRY: Header = (b"x-should-retry", b"false")

# 529: Anthropic's "overloaded".
_OVERLOADED = frozenset({429, 503, 529})

Attempt = Reply | UpstreamError
"""How one attempt ended: any reply, or no reply at all."""


async def retry_failed(
    attempt: Attempt,
    ask: Callable[[Call], Awaitable[Attempt]],
    call: Call,
    config: Config,
    *,
    take_retry: Callable[[], bool],
    has_fallback: bool = False,
    random: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> Reply:
    """Return the reply to `call` after its first `attempt` and as many retries as are allowed.

    `take_retry` says whether one more is paid for. With a fallback only a short wait that the teacher has
    asked for is waited: another teacher is sooner there. `random` yields 0..1. A retryable reply that is
    handed on because the retries are spent says `x-should-retry: false`, lest the client's retries
    multiply with ours. Raises the last UpstreamError.
    """
    retries = 0
    while is_retryable(attempt, call):
        if has_fallback and asked_wait(attempt) is None:
            break
        wait_s = wait_before_retry(attempt, retries, config, random())
        if wait_s is None:
            break
        if retries == config.retries or not take_retry():
            attempt = without_more_retries(attempt) if retries else attempt
            break
        if isinstance(attempt, Reply):
            await attempt.body.aclose()
        await sleep(wait_s)
        retries += 1
        attempt = await ask(call)
    if isinstance(attempt, UpstreamError):
        attempt.was_retried = retries > 0
        raise attempt
    return msgspec.structs.replace(attempt, retries=retries) if retries else attempt


def is_retryable(attempt: Attempt, call: Call) -> bool:
    """Return whether asking again is safe and may help.

    What was never sent may always be sent again, but not what has waited in vain for a place to
    be sent. Anything else only if `call` is repeatable: lost connections, the teacher's
    x-should-retry, else 408, 409, 429 and 5xx. A head which did not come within minutes is not
    waited for again.
    """
    if isinstance(attempt, UpstreamError) and not attempt.was_sent:
        return not isinstance(attempt, UpstreamBusyError)
    if not call.is_repeatable or not isinstance(call.body, bytes):
        return False
    if isinstance(attempt, UpstreamError):
        return not isinstance(attempt, UpstreamTimeoutError | UpstreamCredentialError)
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
    if (asked := asked_wait(attempt)) is not None:
        return asked if asked <= config.longest_wait_s else None
    if config.adapts_in_flight and is_overload(attempt):
        # The limit has fallen just now: the wait for a place is the wait.
        return 0.0
    longest_s: float = config.first_wait_s * 2**retries
    return chance * min(config.longest_wait_s, longest_s)


def is_overload(attempt: Attempt) -> bool:
    """Return whether the teacher had more calls than it can take at once."""
    return isinstance(attempt, Reply) and attempt.status in _OVERLOADED


def asked_wait(attempt: Attempt) -> float | None:
    """Return the seconds that the teacher asks to be left alone, infinity for a date; None if it does not."""
    if isinstance(attempt, UpstreamError):
        return None
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        if value := _header(attempt, name):
            try:
                return max(0.0, float(value) * unit_s)
            except ValueError:
                return float("inf")
    return None


def without_more_retries(attempt: Attempt) -> Attempt:
    """Return a reply that tells the client not to ask again, because we have done so."""
    if isinstance(attempt, UpstreamError) or _header(attempt, DO_NOT_RETRY[0]) == b"false":
        return attempt
    others = tuple(header for header in attempt.headers if header[0] != DO_NOT_RETRY[0])
    return msgspec.structs.replace(attempt, headers=(*others, DO_NOT_RETRY))


def _header(reply: Reply, name: bytes) -> bytes | None:
    return next((value for key, value in reply.headers if key == name), None)
