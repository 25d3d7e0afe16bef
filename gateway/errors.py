"""The one tree of errors that stepdown raises on purpose.

StepdownError
├── ConfigError            a setting or a policy is wrong: the start stops, the message says where
├── RequestError           the client asked for something we refuse: 4xx in OpenAI's shape, nothing was spent
│   ├── UnreadableBodyError   we cannot read the body, the teacher perhaps can: passed where it may judge
│   ├── RateLimitedError   too much in a short time: the client may come back soon
│   └── BudgetSpentError   the money of a day or month is spent: coming back soon does not help
├── UpstreamError          the teacher could not be reached or broke off before its answer began
│   ├── UpstreamTimeoutError
│   ├── UpstreamBusyError   it has as many calls as it may have: another teacher, or later
│   └── UpstreamCredentialError   the teacher refused the gateway's own key: the operator's to correct
├── SpecialistError        no usable draft; its `reason` is counted, the teacher answers
├── RegistryError          a model's files are missing, changed or unreadable
└── TrainingError          no student can be trained from the harvest (yet)
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

_LONGEST_LINE = 2_000


class StepdownError(Exception):
    """Anything that stepdown raises on purpose."""


class ConfigError(StepdownError):
    """A setting or a policy is wrong; the message says file, place, what was allowed.

    It is one line that a terminal can show, whatever the file or the argument holds that it quotes.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > _LONGEST_LINE:
            text = f"{text[:_LONGEST_LINE]} ..."
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class RequestError(StepdownError):
    """The client's request is refused before any money is spent.

    `headers` go to the client beside the message. `policy` is the name of the policy that refused, `key`
    that of the gateway key that was refused; the edge notes it. `because` is why no specialist may answer,
    where only one was asked for.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        policy: str = "",
        because: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.because = because
        self.param = param
        self.code = code
        self.kind = kind
        self.headers = headers
        self.policy = policy
        self.key = ""


class RateLimitedError(RequestError):
    """A limit on requests or tokens is reached; `retry_after_s` is when the same request would pass."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float,
        kind: str = "requests",
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(
            message,
            status=429,
            code="rate_limit_exceeded",
            kind=kind,
            headers=(*_retry_after(retry_after_s), *headers),
        )


class BudgetSpentError(RequestError):
    """`budget` ("the budget of policy 'x' for this day") is spent until `resets_at`, in unix seconds."""

    def __init__(self, budget: str, *, resets_at: float, now: float, policy: str = "") -> None:
        resets = datetime.fromtimestamp(resets_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        super().__init__(
            f"{budget[:1].upper()}{budget[1:]} is spent or too small for this request; "
            f"it begins anew at {resets}.",
            status=429,
            code="budget_exceeded",
            kind="insufficient_quota",
            # The official clients retry every 429 unless they are told that it cannot help.
            headers=(*_retry_after(resets_at - now), (b"x-should-retry", b"false")),
            policy=policy,
        )


class SpecialistAwayError(RequestError):
    """The only specialist that may answer cannot at the moment: `reason`. The official clients ask again."""

    def __init__(self, reason: str, *, param: str) -> None:
        super().__init__(
            f"the specialist cannot answer at the moment: {reason}",
            status=503,
            param=param,
            code="specialist_unavailable",
            kind="server_error",
            headers=_retry_after(1.0),
            because=reason,
        )


class UnreadableBodyError(RequestError):
    """The body is in a coding or a shape that we cannot read, and that the teacher perhaps takes.

    `reason` is a short, countable phrase for the case that it goes there unread.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, status=status, param=param, code=code)
        self.reason = reason


class UpstreamError(StepdownError):
    """The teacher could not be reached, or broke off before its answer began.

    `was_sent` is False when not one byte of the request had left, so that repeating it is safe;
    `was_retried` is True once we have asked more than once.
    """

    def __init__(self, message: str, *, was_sent: bool = True) -> None:
        super().__init__(message)
        self.was_sent = was_sent
        self.was_retried = False


class UpstreamTimeoutError(UpstreamError):
    """The teacher did not begin its answer in time."""


class UpstreamBusyError(UpstreamError):
    """The teacher has as many calls as it may have; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, was_sent=False)


class UpstreamCredentialError(UpstreamError):
    """The teacher refused the gateway's own credential (401)."""


class SpecialistError(StepdownError):
    """There is no usable draft. `reason` is a short, countable phrase."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class RegistryError(StepdownError):
    """A model's files are missing, changed or unreadable; the message names the file."""


class TrainingError(StepdownError):
    """No student can be trained for the task; the message says what is missing."""


def _retry_after(wait_s: float) -> tuple[tuple[bytes, bytes], ...]:
    # Rounded up: a client that comes back a moment too early is refused again.
    return (
        (b"retry-after", b"%d" % max(1, math.ceil(wait_s))),
        (b"retry-after-ms", b"%d" % max(1, math.ceil(wait_s * 1000))),
    )
