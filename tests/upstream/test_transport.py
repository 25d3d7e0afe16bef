"""Teachers reached over HTTP/2, through proxies behind TLS or SOCKS, or by certificates of one's own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
import uvloop

from gateway.errors import ConfigError, UpstreamError
from gateway.upstream.base import Call, Config, Transport
from gateway.upstream.client import HttpClient
from gateway.upstream.httpcore_client import HttpcoreClient
from gateway.upstream.transport import create_transport
from tests.test_architecture import loaded_by
from tests.upstream.conftest import Engine, RawTeacher, read
from tests.upstream.ways import Http2Teacher, Proxy, server_tls, serving

GET = Call(method="GET", target=b"/v1/a%2Fb?x", headers=((b"x-a", b"1"),))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


@pytest.fixture
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


async def ask(client: Transport, origin: str, call: Call = GET) -> bytes:
    """Return the answer's body."""
    reply = await client.send(origin, call)
    return await read(reply.body)


async def test_http2_is_spoken_where_the_teacher_speaks_it(authority: trustme.CA, ca_file: str) -> None:
    teacher = Http2Teacher()
    post = Call(method="POST", target=b"/v1/chat", headers=(), body=b"x" * 300_000)
    async with serving(teacher.serve, server_tls(authority, "localhost", protocols=("h2",))) as port:
        client = create_transport(Config(http2=True, ca_file=ca_file))
        origin = f"https://localhost:{port}"
        assert await ask(client, origin) == b"/v1/a%2Fb?x"
        answers = await asyncio.gather(*(ask(client, origin, post) for _ in range(20)))
        await client.close()

    assert set(answers) == {b"/v1/chat"}
    assert teacher.bodies[1:] == [post.body] * 20
    assert teacher.connections == 1
    assert teacher.asked[0]["x-a"] == "1"


async def test_a_client_that_leaves_ends_its_stream_and_no_other(authority: trustme.CA, ca_file: str) -> None:
    teacher = Http2Teacher()
    async with serving(teacher.serve, server_tls(authority, "localhost", protocols=("h2",))) as port:
        client = create_transport(Config(http2=True, ca_file=ca_file))
        origin = f"https://localhost:{port}"
        silent = await client.send(origin, Call(method="GET", target=b"/v1/silent", headers=()))
        reading = asyncio.ensure_future(anext(silent.body))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await silent.body.aclose()

        assert await ask(client, origin) == b"/v1/a%2Fb?x"
        await client.close()


async def test_a_teacher_without_http2_is_asked_as_ever(
    authority: trustme.CA, ca_file: str, raw: RawTeacher
) -> None:
    async with serving(raw.serve, server_tls(authority, "localhost")) as port:
        client = create_transport(Config(http2=True, ca_file=ca_file))
        assert await ask(client, f"https://localhost:{port}") == b"ok"
        await client.close()


@pytest.mark.parametrize("engine", ["own", "httpcore"])
async def test_a_teacher_may_know_us_by_our_certificate(
    authority: trustme.CA, ca_file: str, raw: RawTeacher, tmp_path: Path, engine: Engine
) -> None:
    ours = tmp_path / "ours.pem"
    authority.issue_cert("gateway.test").private_key_and_cert_chain_pem.write_to_path(str(ours))
    demanding = server_tls(authority, "localhost")
    authority.configure_trust(demanding)
    demanding.verify_mode = ssl.CERT_REQUIRED
    async with serving(raw.serve, demanding) as port:
        known = create_transport(Config(transport=engine, ca_file=ca_file, client_certificate=str(ours)))
        assert await ask(known, f"https://localhost:{port}") == b"ok"
        unknown = create_transport(Config(transport=engine, ca_file=ca_file))
        with pytest.raises(UpstreamError):
            await ask(unknown, f"https://localhost:{port}")
        await known.close()
        await unknown.close()


@pytest.mark.usefixtures("_no_proxy")
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("has_tls", [True, False], ids=["teacher behind TLS", "plain teacher"])
def test_a_proxy_may_be_behind_tls_itself(
    authority: trustme.CA, ca_file: str, loop: Callable[[], asyncio.AbstractEventLoop], has_tls: bool
) -> None:
    """TLS inside TLS is a matter of the loop's."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_ask_through_tls(authority, ca_file, has_tls=has_tls))


async def _ask_through_tls(authority: trustme.CA, ca_file: str, *, has_tls: bool) -> None:
    raw = RawTeacher()
    teacher_tls = server_tls(authority, "teacher.test") if has_tls else None
    async with serving(raw.serve, teacher_tls) as port:
        proxy = Proxy(port)
        serve = proxy.connect if has_tls else raw.serve
        async with serving(serve, server_tls(authority, "localhost")) as proxy_port:
            config = Config(proxy=f"https://me:secret@localhost:{proxy_port}", ca_file=ca_file)
            client = create_transport(config)
            assert await ask(client, f"http{'s' if has_tls else ''}://teacher.test") == b"ok"
            await client.close()

    seen = proxy.asked[0] if has_tls else raw.asked[0]
    first = b"CONNECT teacher.test:443" if has_tls else b"GET http://teacher.test/v1/a%2Fb?x"
    assert seen.startswith(first)
    assert b"proxy-authorization: basic" in seen.lower()


@pytest.mark.usefixtures("_no_proxy")
@pytest.mark.parametrize("has_tls", [True, False], ids=["teacher behind TLS", "plain teacher"])
async def test_a_socks_proxy_of_the_environment_is_taken_without_being_asked_for(
    authority: trustme.CA, ca_file: str, raw: RawTeacher, monkeypatch: pytest.MonkeyPatch, has_tls: bool
) -> None:
    """It was an error with every request."""
    pytest.importorskip("socksio")
    scheme = "https" if has_tls else "http"
    async with serving(raw.serve, server_tls(authority, "teacher.test") if has_tls else None) as port:
        proxy = Proxy(port)
        async with serving(proxy.socks5) as proxy_port:
            monkeypatch.setenv("all_proxy", f"socks5h://me:secret@127.0.0.1:{proxy_port}")
            config = Config(base_url=f"{scheme}://teacher.test/v1", use_proxy=True, ca_file=ca_file)
            client = create_transport(config)
            assert await ask(client, f"{scheme}://teacher.test") == b"ok"
            await client.close()

    assert proxy.asked == [b"me:secret", b"teacher.test"]


@pytest.mark.usefixtures("_no_proxy")
@pytest.mark.parametrize(
    ("config", "proxy", "kind"),
    [
        (Config(), "socks5://p:1", HttpClient),
        (Config(use_proxy=True), "", HttpClient),
        (Config(use_proxy=True), "http://p:1", HttpClient),
        (Config(use_proxy=True), "https://p:1", HttpcoreClient),
        (Config(use_proxy=True, base_url="http://127.0.0.1/v1"), "socks5://p:1", HttpClient),
        (Config(proxy="http://p:1"), "", HttpClient),
        (Config(proxy="socks5://p:1"), "", HttpcoreClient),
        (Config(http2=True), "", HttpcoreClient),
        (Config(transport="httpcore"), "", HttpcoreClient),
    ],
)
def test_our_own_client_is_taken_wherever_it_can_go(
    monkeypatch: pytest.MonkeyPatch, config: Config, proxy: str, kind: type
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    assert type(create_transport(config)) is kind


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (Config(transport="own", http2=True), "HTTP/2"),
        (Config(transport="own", proxy="socks5://p:1"), "socks5:// proxies"),
        (Config(ca_file="/no/such/file"), "/no/such/file"),
        (Config(client_certificate="/no/such/file"), "/no/such/file"),
        (Config(proxy="ftp://p:1"), "http, https, socks5"),
    ],
)
def test_what_cannot_be_done_stops_the_start(config: Config, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        create_transport(config)


def test_the_other_engine_is_imported_where_it_is_needed_alone() -> None:
    own = "from gateway.upstream import transport as t, base as b; t.create_transport(b.Config({}))"

    assert "httpcore2" not in loaded_by(own.format(""))
    assert "httpcore2" in loaded_by(own.format("http2=True"))
