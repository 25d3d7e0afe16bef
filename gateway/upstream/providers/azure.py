"""Azure OpenAI: deployments instead of models, a header of its own for the key, a version in the query.

Microsoft Learn, "Azure OpenAI REST API reference" and "API lifecycle".
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from gateway.core import Header
from gateway.upstream.base import Call, Transport
from gateway.upstream.base import Config as TeacherConfig
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.dialect import Dialect, ForeignError, Preset, read_bare_error

PRESET = Preset(credential="AZURE_OPENAI_API_KEY")

# What Azure has per deployment; all else is below /openai alone (the official client's AzureOpenAI).
_PER_DEPLOYMENT = frozenset(
    {b"/chat/completions", b"/completions", b"/embeddings", b"/audio/speech"}
    | {b"/audio/transcriptions", b"/audio/translations", b"/images/generations", b"/images/edits"}
)


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address is the resource's: `https://NAME.openai.azure.com`."""

    api_version: str | None = None
    """A dated version ("2024-10-21") has a path per deployment: a model's name, or what `models` makes of it,
    is a deployment's then. None: Azure's v1 API."""


def create(
    config: TeacherConfig, client: Transport, instance: str = "", options: Config | None = None
) -> CompatibleTeacher:
    """Return the teacher at the resource `config.base_url`. Raises ConfigError for a URL it cannot use."""
    return CompatibleTeacher(config, client, instance, _Azure((options or Config()).api_version))


class _Model(msgspec.Struct):
    model: str


class _Azure(Dialect):
    request_id = b"apim-request-id"
    hidden_headers = (b"x-ms-", b"azureml-", b"apim-")
    has_own_errors = True

    def __init__(self, api_version: str | None) -> None:
        self._version = api_version.encode() if api_version else None

    def credential(self, key: bytes) -> tuple[Header, ...]:
        return ((b"api-key", key),)

    def prefix(self, path: bytes) -> bytes:
        below = path.removesuffix(b"/openai/v1").removesuffix(b"/openai")
        return below + (b"/openai" if self._version else b"/openai/v1")

    def target(self, prefix: bytes, call: Call) -> bytes:
        path, _, query = call.target.partition(b"?")
        operation = path.removeprefix(b"/v1")
        if not self._version:
            return super().target(prefix, call)
        deployment = _deployment(call) if operation in _PER_DEPLOYMENT else None
        if deployment:
            prefix += b"/deployments/" + quote(deployment, safe="").encode()
        version = b"api-version=" + self._version
        return prefix + operation + b"?" + (query + b"&" + version if query else version)

    def read_error(self, status: int, error: object) -> ForeignError | None:
        # API Management, which stands before it, has {"statusCode", "message"}.
        return read_bare_error(status, error)


def _deployment(call: Call) -> str | None:
    """Return the model that a request names; None for a form, whose model is not read here."""
    try:
        return msgspec.json.decode(call.body, type=_Model).model if isinstance(call.body, bytes) else None
    except (ValueError, RecursionError):
        return None
