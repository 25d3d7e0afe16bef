"""The way to a teacher: its proxy, its certificates, and the HTTP client that can go it."""

from __future__ import annotations

import ssl
import urllib.request
from urllib.parse import urlsplit

from gateway.errors import ConfigError
from gateway.upstream.base import Config, Transport

PROXIES = ("http", "https", "socks5", "socks5h")
"""The schemes of proxies; the first alone is our own client's."""


def create_transport(config: Config) -> Transport:
    """Return the HTTP client for `config`: our own, unless it cannot do what is asked for.

    Raises ConfigError for certificates that cannot be read, and where "own" is asked for what it cannot do.
    """
    need = _find_need(config)
    if config.transport == "own" and need:
        raise ConfigError(f'transport "own" cannot do {need}; leave `transport` out, or set "httpcore"')
    if urlsplit(config.base_url).scheme == "https":
        # So that a wrong file stops the start, and not each request.
        create_tls(config)
    if config.transport == "httpcore" or need:
        from gateway.upstream.httpcore_client import HttpcoreClient

        return HttpcoreClient(config)
    from gateway.upstream.client import HttpClient

    return HttpClient(config)


def proxy_for(origin: str, config: Config) -> str | None:
    """Return the URL of the proxy on the way to `origin` (scheme://host[:port]), None if there is none.

    Raises ConfigError for a proxy of unknown kind.
    """
    proxy = config.proxy
    if proxy is None and config.use_proxy:
        url = urlsplit(origin)
        proxies = urllib.request.getproxies()
        found = proxies.get(url.scheme) or proxies.get("all")
        proxy = None if found is None or urllib.request.proxy_bypass(url.netloc) else found
    if proxy is not None and urlsplit(proxy).scheme not in PROXIES:
        raise ConfigError(f"a proxy must be {', '.join(PROXIES)}://[user:password@]host:port")
    return proxy


def create_tls(config: Config) -> ssl.SSLContext:
    """Return the TLS context for the teacher. Raises ConfigError for files that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.client_certificate:
            context.load_cert_chain(config.client_certificate, config.client_key)
    except (OSError, ValueError) as exc:
        named = [file for file in (config.ca_file, config.client_certificate, config.client_key) if file]
        raise ConfigError(f"TLS: {', '.join(named)}: {exc}") from exc
    context.set_alpn_protocols(["h2", "http/1.1"] if config.http2 else ["http/1.1"])
    return context


def _find_need(config: Config) -> str:
    """Return what our own client cannot do of what `config` asks for; empty if it can do all."""
    if config.http2:
        return "HTTP/2"
    url = urlsplit(config.base_url)
    proxy = proxy_for(f"{url.scheme}://{url.netloc}", config)
    scheme = urlsplit(proxy).scheme if proxy else PROXIES[0]
    return "" if scheme == PROXIES[0] else f"{scheme}:// proxies"
