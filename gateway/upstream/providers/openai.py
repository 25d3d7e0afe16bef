"""Any teacher that speaks OpenAI's HTTP API below one base URL."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from gateway.core import Header
from gateway.errors import ConfigError, UpstreamCredentialError
from gateway.upstream.base import Call, Config, Reply, Teacher
from gateway.upstream.client import HttpClient
from gateway.upstream.headers import HOP_BY_HOP, HeaderFilter, end_to_end, readable
from gateway.upstream.masked_body import MaskedBody
from gateway.upstream.trust_boundary import (
    CLIENT_NAMES,
    CLIENT_PREFIXES,
    OWN_PREFIX,
    keep_for_client,
)
from gateway.upstream.websocket_headers import UPGRADE, without_credentials
from gateway.wire.loop_header import extend_chain

# The observers read the answers given here.
READ_BY_US = frozenset({b"/v1/chat/completions", b"/v1/responses", b"/v1/embeddings"})
# The HTTP client sets `host`; the server in front of us has answered `expect` already.
SET_BY_US = frozenset({b"host", b"expect"})
_LENGTH = frozenset({b"content-length"})
# Servers of one's own take any word for a key: EMPTY, none. Such a word may stand in an error.
_SHORTEST_SECRET = 8


def create(config: Config, client: HttpClient, instance: str = "") -> Teacher:
    """Return the teacher at `config.base_url`. Raises ConfigError for a URL it cannot use.

    `instance` names this gateway to other gateways on the way; OpenAI itself is none and is not told.
    """
    return _OpenAITeacher(config, client, instance)


class _OpenAITeacher:
    """A teacher in OpenAI's words; everything constant is made once."""

    def __init__(self, config: Config, client: HttpClient, instance: str) -> None:
        self._client = client
        self._origin, self._host, self._prefix = _split(config.base_url)
        self._instance = b"" if f".{self._host}".endswith(".openai.com") else instance.encode()
        self._has_own_key = config.api_key is not None
        self._credential = _credential(config)
        self._key = config.api_key.reveal().encode() if config.api_key else b""
        names = HOP_BY_HOP | SET_BY_US | (CLIENT_NAMES if self._has_own_key else frozenset())
        prefixes = (OWN_PREFIX, *(CLIENT_PREFIXES if self._has_own_key else ()))
        alike = self._has_own_key
        self._stops = HeaderFilter(names, prefixes, takes_underscores=alike)
        self._stops_with_length = HeaderFilter(names | _LENGTH, prefixes, takes_underscores=alike)

    async def ask(self, call: Call) -> Reply:
        """See upstream.base.Teacher. Raises UpstreamCredentialError if our own key is refused.

        A 403 is the client's to read: the key was accepted, and the teacher's words say what it may not do.
        """
        reply = await self._client.send(self._origin, self._rewritten(call))
        if not self._has_own_key:
            return reply
        if reply.status == 401:
            await reply.body.aclose()
            raise UpstreamCredentialError("the teacher refused the gateway's own key (401)")
        return self._for_client(reply)

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
            headers = [*(without_credentials(headers) if self._has_own_key else headers), *UPGRADE]
        return Call(
            method=call.method,
            target=self._prefix + call.target.removeprefix(b"/v1"),
            headers=(*headers, *self._credential),
            body=call.body,
            is_repeatable=call.is_repeatable,
            is_idempotent=call.is_idempotent,
            may_switch=call.may_switch,
        )

    def _for_client(self, reply: Reply) -> Reply:
        headers = keep_for_client(reply.status, reply.headers, self._host, self._prefix)
        is_masked = reply.status >= 400 and len(self._key) >= _SHORTEST_SECRET
        body = MaskedBody(reply.body, self._key) if is_masked else reply.body
        return msgspec.structs.replace(reply, headers=headers, body=body)


def _is_length_untrue(call: Call) -> bool:
    """Whether content-length does not describe the body that leaves here."""
    return isinstance(call.body, bytes) or any(name == b"transfer-encoding" for name, _ in call.headers)


def _credential(config: Config) -> tuple[Header, ...]:
    if config.api_key is None:
        return ()
    key = config.api_key.reveal()
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    if config.organization:
        headers.append((b"openai-organization", config.organization.encode()))
    if config.project:
        headers.append((b"openai-project", config.project.encode()))
    return tuple(headers)


def _split(base_url: str) -> tuple[str, str, bytes]:
    """Return origin, host and path prefix of `base_url`."""
    try:
        url = urlsplit(base_url)
        host, _ = url.hostname, url.port
    except ValueError as exc:
        raise ConfigError(f"upstream base_url {base_url!r} is no URL: {exc}") from exc
    if url.scheme not in {"http", "https"} or not host or url.query or url.fragment or "@" in url.netloc:
        raise ConfigError("upstream base_url must be http(s)://host[:port][/path] and nothing more")
    return f"{url.scheme}://{url.netloc}", host, (url.path.rstrip("/") or "/v1").encode()
