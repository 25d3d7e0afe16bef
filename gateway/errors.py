"""The one tree of errors that stepdown raises on purpose.

StepdownError
├── ConfigError            a setting or a policy is wrong: the start stops, the message says where
├── RequestError           the client asked for something we refuse: 4xx in OpenAI's shape, nothing was spent
│   └── UnreadableBodyError   we cannot read the body, the teacher perhaps can: passed where it may judge
├── UpstreamError          the teacher could not be reached or broke off before its answer began
│   ├── UpstreamTimeoutError
│   └── UpstreamCredentialError   the teacher refused the gateway's own key: the operator's to correct
├── SpecialistError        no usable draft; its `reason` is counted, the teacher answers
├── RegistryError          a model's files are missing, changed or unreadable
└── TrainingError          no student can be trained from the harvest (yet)
"""

from __future__ import annotations


class StepdownError(Exception):
    """Anything that stepdown raises on purpose."""


class ConfigError(StepdownError):
    """A setting or a policy is wrong; the message says file, place, what was allowed."""


class RequestError(StepdownError):
    """The client's request is refused before any money is spent."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.kind = kind


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

    `was_sent` is False when not one byte of the request had left, so that repeating it is safe.
    """

    def __init__(self, message: str, *, was_sent: bool = True) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class UpstreamTimeoutError(UpstreamError):
    """The teacher did not begin its answer in time."""


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
