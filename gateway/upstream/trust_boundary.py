"""The headers that never cross between the gateway's clients and a teacher that gets the gateway's own key.

With its own key the gateway is a party to both sides: what a client says of itself, its network and
its other accounts is no business of the teacher's, and what the teacher says of the gateway's account is
none of the client's. Forward mode knows no such boundary: there the client talks with its own teacher.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit, urlunsplit

from gateway.core import Header
from gateway.upstream.headers import HeaderFilter

OWN_PREFIX = b"x-stepdown-"

_COOKIES = frozenset({b"cookie", b"cookie2", b"set-cookie", b"set-cookie2"})
"""RFC 6265, and RFC 2965 before it. A cookie of the gateway's site is a session there."""

_FORWARDING = frozenset(
    # RFC 7239; RFC 9110 section 7.6.3: a gateway that guards a boundary may leave out Via.
    {b"forwarded", b"via", b"x-forwarded", b"forwarded-for", b"max-forwards"}
    # nginx, Apache, F5, Akamai, Cloudflare, Fastly, Fly, DigitalOcean: "Restoring original visitor IPs".
    | {
        b"x-real-ip",
        b"x-client-ip",
        b"client-ip",
        b"x-cluster-client-ip",
        b"x-originating-ip",
        b"x-remote-ip",
    }
    | {b"x-remote-addr", b"remote-addr", b"true-client-ip", b"cf-connecting-ip", b"cf-connecting-ipv6"}
    | {b"cf-pseudo-ipv4", b"cf-ipcountry", b"cf-visitor", b"cf-ray", b"cf-worker", b"cdn-loop"}
    | {b"fastly-client-ip", b"fly-client-ip", b"do-connecting-ip", b"x-azure-clientip", b"x-azure-socketip"}
    | {b"x-original-forwarded-for", b"x-original-host", b"x-http-host-override", b"x-host"}
)
_FORWARDING_PREFIXES = (
    b"x-forwarded-",
    b"x-envoy-",  # Envoy, "HTTP header manipulation": internal-request marks, external addresses, retries
    b"x-appengine-",  # Google App Engine, "Request headers"
)

_IDENTITY = frozenset(
    # Apache mod_proxy, nginx auth_request, Traefik ForwardAuth and Authelia, "Trusted header SSO".
    {b"remote-user", b"remote-groups", b"remote-name", b"remote-email", b"x-remote-user", b"x-remote-group"}
    | {b"x-authenticated-user", b"x-authenticated-userid", b"x-authenticated-groups", b"x-webauth-user"}
    # Kong, "Key authentication": upstream headers. X.509: RFC 9440 and ingress-nginx.
    | {b"x-anonymous-consumer", b"client-cert", b"client-cert-chain", b"ssl-client-cert", b"x-ssl-cert"}
    | {b"x-arr-clientcert", b"x-client-cert", b"x-user", b"x-user-id", b"x-user-email", b"x-email"}
    # Sessions of browsers: OWASP, "Cross-Site Request Forgery Prevention".
    | {b"x-csrf-token", b"x-xsrf-token", b"x-csrftoken"}
)
_IDENTITY_PREFIXES = (
    b"x-auth-request-",  # oauth2-proxy, "--set-xauthrequest"
    b"x-amzn-oidc-",  # AWS, "Authenticate users using an Application Load Balancer"
    b"x-amzn-mtls-",  # AWS, "Mutual authentication with TLS"
    b"x-goog-iap-",  # Google Cloud IAP, "Securing your app with signed headers"
    b"x-goog-authenticated-user-",  # the same, "Getting the user's identity"
    b"x-ms-client-principal",  # Azure App Service, "Work with user identities"
    b"x-ms-token-",  # the same, "Work with OAuth tokens"
    b"cf-access-",  # Cloudflare Access: its JWT, the user's address, and service tokens
    b"x-pomerium-",  # Pomerium, "Pass identity headers"
    b"x-authentik-",  # authentik, "Header authentication"
    b"x-consumer-",  # Kong, "Upstream headers"
    b"x-credential-",  # the same
    b"x-ssl-client-",  # ingress-nginx, "Client certificate authentication"
    b"ssl-client-",  # the same
    b"tailscale-",  # Tailscale Serve, "Identity headers"
    b"x-vouch-",  # Vouch Proxy
    b"x-token-claim-",
)

_OVERRIDES = frozenset(
    # Method: Microsoft's, Google's and IBM's names (OWASP WSTG-CONF-06). URL: IIS URL Rewrite, Symfony,
    # nginx (OWASP WSTG-ATHZ-02; CVE-2018-14773). A teacher that obeys them does what no policy saw.
    {b"x-http-method-override", b"x-http-method", b"x-method-override"}
    | {b"x-original-url", b"x-original-uri", b"x-rewrite-url", b"x-original-method"}
    # CVE-2025-29927: tells a Next.js server to leave out its own checks.
    | {b"x-middleware-subrequest"}
)
_OVERRIDES_PREFIXES = (b"x-accel-",)  # nginx, X-Accel-Redirect

_CREDENTIALS = frozenset(
    # OpenAI's and Azure's; our own credential takes their place.
    {b"authorization", b"api-key", b"openai-organization", b"openai-project"}
    # Other providers' and gateways': Anthropic, Google, Azure API Management and Functions, AWS, Brave,
    # GitLab, Vault, RapidAPI, LiteLLM, Helicone, Cloudflare AI Gateway.
    | {b"x-api-key", b"x-goog-api-key", b"x-goog-user-project", b"ocp-apim-subscription-key"}
    | {b"x-functions-key", b"x-ms-authorization-auxiliary", b"x-serverless-authorization"}
    | {b"x-amz-security-token", b"x-amz-date", b"x-amz-content-sha256", b"x-subscription-token"}
    | {b"private-token", b"x-vault-token", b"x-rapidapi-key", b"x-litellm-api-key", b"helicone-auth"}
    | {b"cf-aig-authorization", b"x-auth-token", b"x-access-token", b"x-api-token", b"x-id-token"}
    | {b"x-openai-api-key", b"openai-api-key", b"anthropic-api-key", b"apikey", b"x-apikey", b"x-auth-key"}
    | {b"x-authorization", b"x-original-authorization", b"x-auth-email", b"x-goog-iam-authorization-token"}
)
_CREDENTIALS_PREFIXES = (b"x-portkey-",)  # Portkey: keys and virtual keys of any provider

_ACCOUNT = frozenset(
    # OpenAI, "Debugging requests": which account answered. Anthropic's equal.
    {b"openai-organization", b"openai-project", b"anthropic-organization-id"}
    # IETF draft-ietf-httpapi-ratelimit-headers: what is left for all users of our key together.
    | {b"ratelimit", b"ratelimit-policy", b"ratelimit-limit", b"ratelimit-remaining", b"ratelimit-reset"}
)
_ACCOUNT_PREFIXES = (
    b"x-ratelimit-",  # OpenAI, "Rate limits in headers"
    b"anthropic-ratelimit-",
    b"x-ms-ratelimit-",
    b"x-litellm-",  # LiteLLM, "Response headers": spend, budget and the address behind it
    b"llm_provider-",  # the same: the provider's own headers once more
)

_SERVER = frozenset(
    # They speak of the teacher's origin, and a client would believe them of ours: RFC 7838 (another place
    # to connect to), RFC 6797, Clear Site Data, Network Error Logging and the Reporting API.
    {b"alt-svc", b"strict-transport-security", b"clear-site-data", b"nel", b"report-to"}
    | {b"reporting-endpoints", b"via", b"x-powered-by", b"x-aspnet-version", b"x-accel-redirect"}
    # nginx, Kong, Envoy and Varnish: the machines behind the teacher's door.
    | {b"x-upstream", b"x-upstream-addr", b"x-backend", b"x-backend-server", b"x-sendfile"}
)
_SERVER_PREFIXES = (b"x-envoy-", b"x-kong-")

LOCATIONS = frozenset({b"location", b"content-location", b"operation-location", b"azure-asyncoperation"})
"""Addresses in answers: RFC 9110 sections 10.2.2 and 8.7, and Azure's for operations that take a while."""

# RFC 6762, the zone that ICANN reserved for private use, and Kubernetes' two.
_PRIVATE_ZONES = (".local", ".internal", ".localdomain", ".svc", ".lan")

CLIENT_NAMES = _COOKIES | _FORWARDING | _IDENTITY | _OVERRIDES | _CREDENTIALS
CLIENT_PREFIXES = (
    *_FORWARDING_PREFIXES,
    *_IDENTITY_PREFIXES,
    *_OVERRIDES_PREFIXES,
    *_CREDENTIALS_PREFIXES,
)
"""What a client sends and the teacher never sees."""

TEACHER_NAMES = frozenset({b"set-cookie", b"set-cookie2"}) | _ACCOUNT | _SERVER | LOCATIONS
TEACHER_PREFIXES = (OWN_PREFIX, *_ACCOUNT_PREFIXES, *_SERVER_PREFIXES)
"""What a teacher sends and the client never sees; of LOCATIONS, `rewrite_location` says what it sees.

Another stepdown's labels stop here because ours replace them. Kept: x-request-id, openai-version,
openai-processing-ms, retry-after, cf-ray (they name a request or a wait, and support asks for them).
"""

_FROM_TEACHER = HeaderFilter(TEACHER_NAMES, TEACHER_PREFIXES)


def keep_for_client(status: int, headers: tuple[Header, ...], host: str, prefix: bytes) -> tuple[Header, ...]:
    """Return the teacher's `headers` as the client of a gateway with its own key may see them.

    Names are in lower case. `host` and the path `prefix` are those of the teacher's base URL.
    """
    stops = _FROM_TEACHER
    kept = [header for header in headers if not stops[header[0]]]
    # A 200 leads to no other place (RFC 9110 section 10.2.2), and nearly every answer is one.
    found = [] if status == 200 else [header for header in headers if header[0] in LOCATIONS]
    for name, value in found:
        if shown := rewrite_location(value, host, prefix):
            kept.append((name, shown))
    return tuple(kept)


def rewrite_location(value: bytes, host: str, prefix: bytes) -> bytes | None:
    """Return an address in a teacher's answer as the client may see it; None if it may not.

    On the teacher's own `host` only what is below its base URL has an address here, `/v1/...`. A public
    host elsewhere is a place that the teacher sends its users to (a file in a store), and stays; a host
    that only the teacher's network knows, and a path of unknown base, would tell about it and lead nowhere.
    """
    try:
        url = urlsplit(value.decode("latin-1"))
        named = url.hostname or ""
    except ValueError:
        return None
    if named and named != host:
        return None if _is_internal(named) else value
    path = url.path.encode("latin-1")
    below = path.removeprefix(prefix)
    if url.scheme not in ("", "http", "https") or len(below) == len(path) or below[:1] not in (b"", b"/"):
        return None
    return urlunsplit(("", "", f"/v1{below.decode('latin-1')}", url.query, url.fragment)).encode("latin-1")


def _is_internal(host: str) -> bool:
    """Whether `host` means something in a private network alone."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_ZONES)
