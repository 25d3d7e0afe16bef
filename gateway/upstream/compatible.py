"""Any teacher that speaks OpenAI's HTTP API below one base URL, in OpenAI's words or in a dialect."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from gateway.core import Header
from gateway.errors import ConfigError, UpstreamCredentialError
from gateway.upstream.base import Call, Config, Reply, Transport
from gateway.upstream.dialect import Dialect
from gateway.upstream.foreign_errors import (
    find_hidden_failure,
    is_whole_json,
    read_failure,
    translate_error,
)
from gateway.upstream.headers import HOP_BY_HOP, HeaderFilter, end_to_end, readable
from gateway.upstream.masked_body import MaskedBody
from gateway.upstream.trust_boundary import (
    CLIENT_NAMES,
    CLIENT_PREFIXES,
    OWN_PREFIX,
    keep_for_client,
)
from gateway.upstream.websocket_headers import UPGRADE, only_readable, without_credentials
from gateway.wire.loop_header import extend_chain

# The observers read the answers given here.
READ_BY_US = frozenset({b"/v1/chat/completions", b"/v1/responses", b"/v1/embeddings"})
# The HTTP client sets `host`; the server in front of us has answered `expect` already.
SET_BY_US = frozenset({b"host", b"expect"})
_LENGTH = frozenset({b"content-length"})
# Servers of one's own take any word for a key: EMPTY, none. Such a word may stand in an error.
_SHORTEST_SECRET = 8
_REQUEST_ID = b"x-request-id"
_MODELS = b"/v1/models"


class CompatibleTeacher:
    """Implements Teacher for the provider of `dialect`; everything constant is made once.

    `instance` names this gateway to other gateways on the way; OpenAI itself is none and is not told. Raises
    ConfigError for a base URL it cannot use.
    """

    def __init__(
        self, config: Config, client: Transport, instance: str = "", dialect: Dialect | None = None
    ) -> None:
        self._client = client
        self.dialect = dialect or Dialect()
        self._origin, self._host, path = _split(config.base_url)
        self._prefix = self.dialect.prefix(path)
        self._instance = b"" if f".{self._host}".endswith(".openai.com") else instance.encode()
        self._has_own_key = config.api_key is not None
        self._key = config.api_key.reveal().encode() if config.api_key else b""
        self._credential, self._models_credential = _credentials(config, self.dialect)
        names = HOP_BY_HOP | SET_BY_US | (CLIENT_NAMES if self._has_own_key else frozenset())
        prefixes = (OWN_PREFIX, *(CLIENT_PREFIXES if self._has_own_key else ()))
        alike = self._has_own_key
        self._stops = HeaderFilter(names, prefixes, takes_underscores=alike)
        self._stops_with_length = HeaderFilter(names | _LENGTH, prefixes, takes_underscores=alike)
        self._hidden = HeaderFilter((), self.dialect.hidden_headers)
        self._has_other_names = bool(self.dialect.hidden_headers) or self.dialect.request_id != _REQUEST_ID

    async def ask(self, call: Call) -> Reply:
        """See upstream.base.Teacher. Raises UpstreamCredentialError if our own key is refused.

        A 403 is the client's to read: the key was accepted, and the teacher's words say what it may not do.
        """
        reply = await self._client.send(self._origin, self._rewritten(call))
        if reply.status >= 400:
            reply = await self._failed(reply)
        elif self.dialect.hides_errors and is_whole_json(reply.headers):
            reply = await self._checked(reply)
        return self._for_client(reply) if self._has_own_key else reply

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    def _rewritten(self, call: Call) -> Call:
        """Return `call` as the teacher sees it; accept-encoding is narrowed where we read the answer."""
        stops = self._stops_with_length if _is_length_untrue(call) else self._stops
        headers = end_to_end(call.headers, stops)
        if call.target.partition(b"?")[0] in READ_BY_US:
            # No encoding that the observers could not undo.
            headers = [
                (name, readable(value) if name == b"accept-encoding" else value) for name, value in headers
            ]
        if self._instance:
            # In forward mode the client's own header passes too, with other networks in it: both count.
            came_through = call.headers if self._has_own_key else ()
            headers.append(extend_chain(came_through, self._instance))
        if call.may_switch:
            # With its own key, the gateway must know what it pays for.
            headers = only_readable(without_credentials(headers)) if self._has_own_key else headers
            headers = [*headers, *UPGRADE]
        return Call(
            method=call.method,
            target=self.dialect.target(self._prefix, call),
            headers=(*headers, *self._credential_of(call)),
            body=call.body,
            is_repeatable=call.is_repeatable,
            is_idempotent=call.is_idempotent,
            may_switch=call.may_switch,
            first_byte_s=call.first_byte_s,
            idle_s=call.idle_s,
        )

    def _credential_of(self, call: Call) -> tuple[Header, ...]:
        if self._models_credential is not None and call.target.startswith(_MODELS):
            return self._models_credential
        return self._credential

    async def _failed(self, reply: Reply) -> Reply:
        """Return a failure in OpenAI's words. Raises UpstreamCredentialError."""
        dialect = self.dialect
        if self._has_own_key and reply.status in dialect.refused_key:
            await reply.body.aclose()
            raise _refused_key(reply.status)
        if not dialect.has_own_errors:
            return reply
        reply, error = await read_failure(reply)
        return self._in_our_words(reply, error)

    async def _checked(self, reply: Reply) -> Reply:
        """Return a whole answer, or the failure that it hides."""
        reply, answer = await read_failure(reply)
        checked = find_hidden_failure(reply, answer, self.dialect)
        return self._in_our_words(checked, answer) if checked.status >= 400 else reply

    def _in_our_words(self, reply: Reply, error: object) -> Reply:
        if self._has_own_key and (
            reply.status in self.dialect.refused_key or self.dialect.refuses_key(reply.status, error)
        ):
            raise _refused_key(reply.status)
        found = self.dialect.read_error(reply.status, error)
        return translate_error(reply, found) if found else reply

    def _for_client(self, reply: Reply) -> Reply:
        headers = keep_for_client(reply.status, reply.headers, self._host, self._prefix)
        if self._has_other_names:
            headers = self._in_our_names(headers)
        is_masked = reply.status >= 400 and len(self._key) >= _SHORTEST_SECRET
        body = MaskedBody(reply.body, self._key) if is_masked else reply.body
        return msgspec.structs.replace(reply, headers=headers, body=body)

    def _in_our_names(self, headers: tuple[Header, ...]) -> tuple[Header, ...]:
        """Return `headers` with the request's id under OpenAI's name, and without what is the account's."""
        has_id = any(name == _REQUEST_ID for name, _ in headers)
        own = self.dialect.request_id
        named = [
            (_REQUEST_ID, value) if name == own and not has_id else (name, value) for name, value in headers
        ]
        return tuple(header for header in named if not self._hidden[header[0]])


def _is_length_untrue(call: Call) -> bool:
    """Whether content-length does not describe the body that leaves here."""
    return isinstance(call.body, bytes) or any(name == b"transfer-encoding" for name, _ in call.headers)


def _refused_key(status: int) -> UpstreamCredentialError:
    return UpstreamCredentialError(f"the teacher refused the gateway's own key ({status})")


def _credentials(config: Config, dialect: Dialect) -> tuple[tuple[Header, ...], tuple[Header, ...] | None]:
    """Return the headers of the gateway's own account, and those for lists of models where they differ."""
    if config.api_key is None:
        return (), None
    account = []
    if config.organization:
        account.append((b"openai-organization", config.organization.encode()))
    if config.project:
        account.append((b"openai-project", config.project.encode()))
    key = config.api_key.reveal().encode()
    credential = dialect.credential(key) if key else ()
    for_models = dialect.models_credential(key) if key else None
    return (*credential, *account), for_models


def _split(base_url: str) -> tuple[str, str, bytes]:
    """Return origin, host and path prefix of `base_url`."""
    try:
        url = urlsplit(base_url)
        host, _ = url.hostname, url.port
    except ValueError as exc:
        raise ConfigError(f"upstream base_url {base_url!r} is no URL: {exc}") from exc
    if url.scheme not in {"http", "https"} or not host or url.query or url.fragment or "@" in url.netloc:
        raise ConfigError("upstream base_url must be http(s)://host[:port][/path] and nothing more")
    return f"{url.scheme}://{url.netloc}", host, url.path.rstrip("/").encode()
