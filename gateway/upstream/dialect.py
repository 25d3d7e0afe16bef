"""What a provider does otherwise than OpenAI, though it speaks OpenAI's API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.core import Header
from gateway.upstream.base import Call

API_ERROR, INVALID_REQUEST = "api_error", "invalid_request_error"


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings of a provider's teacher may leave out."""

    base_url: str = ""
    """Empty: it must be given."""
    credential: str = "OPENAI_API_KEY"
    """The variable that holds its key; "none" for servers that usually want none."""


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider without options."""


class ForeignError(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's error in OpenAI's words."""

    message: str
    kind: str = API_ERROR
    code: str | None = None
    status: int | None = None
    """The status that OpenAI would answer with; None: the provider's own."""
    headers: tuple[Header, ...] = ()
    """What OpenAI says in headers and the provider in the body."""


class Dialect:
    """OpenAI's own; a provider overrides what it does otherwise. Made once for each teacher."""

    refused_key: frozenset[int] = frozenset({401})
    """Statuses of a key that is refused, or of an account that cannot pay (402): not the client's fault."""
    request_id: bytes = b"x-request-id"
    """The header that names a request to the provider's support; clients get it as `x-request-id`."""
    hidden_headers: tuple[bytes, ...] = ()
    """Prefixes of headers that tell of the gateway's own account, beside those of `trust_boundary`."""
    has_own_errors: bool = False
    """Whether errors are read at all."""
    hides_errors: bool = False
    """Whether a 200 may hold an error: then whole answers are read before they are passed on."""
    key_target: bytes = b"/v1/models"
    """A GET that a wrong key cannot make."""

    def credential(self, key: bytes) -> tuple[Header, ...]:
        """Return the headers that carry the gateway's own key, which is not empty."""
        return ((b"authorization", b"Bearer " + key),)

    def models_credential(self, key: bytes) -> tuple[Header, ...] | None:
        """Return those for `/v1/models`, None if they are the same."""
        return None

    def prefix(self, path: bytes) -> bytes:
        """Return what stands for `/v1`; `path` is that of the base URL, without a slash at its end."""
        return path or b"/v1"

    def target(self, prefix: bytes, call: Call) -> bytes:
        """Return path and query of `call` at the provider."""
        return prefix + call.target.removeprefix(b"/v1")

    def refuses_key(self, status: int, error: object) -> bool:
        """Whether a decoded `error` says that the key is wrong although `refused_key` lacks its `status`."""
        return False

    def read_error(self, status: int, error: object) -> ForeignError | None:
        """Return a decoded error in OpenAI's words; None if it is in them, or cannot be read."""
        return None

    def hidden_status(self, answer: Mapping[str, Any]) -> int | None:
        """Return the status that a decoded 200 should have had; None if it is an answer."""
        return None

    def model_name(self, listed: str) -> str:
        """Return the name by which a model of the list is asked for."""
        return listed


def find_message(error: object) -> str | None:
    """Return the text of an error that is in none of OpenAI's words, None if there is none."""
    if isinstance(error, str):
        return error
    if not isinstance(error, Mapping):
        return None
    found = (error.get(name) for name in ("message", "error", "detail"))
    return next((text for text in found if isinstance(text, str) and text), None)


def is_openai_error(error: object) -> bool:
    """Whether OpenAI's clients can read a decoded error."""
    inner = error.get("error") if isinstance(error, Mapping) else None
    return isinstance(inner, Mapping) and isinstance(inner.get("message"), str)


def read_bare_error(status: int, error: object) -> ForeignError | None:
    """Return an error with its message and little else; None if it is OpenAI's, or says nothing."""
    message = None if is_openai_error(error) else find_message(error)
    return ForeignError(message=message, kind=kind_of(status)) if message else None


def kind_of(status: int) -> str:
    """Return the `type` that OpenAI's errors of this status have."""
    if status == 429:
        return "rate_limit_error"
    return INVALID_REQUEST if status < 500 else API_ERROR


def refusal_error(message: str) -> ForeignError:
    """Return the error of content that a provider refuses, as OpenAI and Azure report it.

    As a loss it counts against a certificate (core.outcome.ending_of).
    """
    return ForeignError(message=message, kind=INVALID_REQUEST, code="content_filter", status=400)
