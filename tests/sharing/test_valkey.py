"""The connection: TLS, users with few rights, and faults in plain words."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from gateway.core import Secret
from gateway.sharing.base import AwayError, Config
from gateway.sharing.valkey import Valkey
from tests.support.tcp_proxy import tcp_proxy
from tests.support.valkey import RunningValkey


def ask(config: Config) -> object:
    return Valkey(config).call("PING")


def test_tls_is_spoken_and_the_server_verified(valkey: RunningValkey, tmp_path: Path) -> None:
    """The test's Valkey speaks none itself: a proxy does, as it may in production."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with tcp_proxy(valkey.port, context) as proxy:
        url = f"rediss://localhost:{proxy.port}/0"
        assert ask(Config(url=f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}"))
        with pytest.raises(AwayError, match="certificate"):
            ask(Config(url=url))


def test_a_user_without_rights_is_told_so(valkey: RunningValkey) -> None:
    valkey.admin.acl_setuser("gateway", enabled=True, passwords=["+word"], categories=["-@all"])
    config = Config(url=f"redis://gateway@127.0.0.1:{valkey.port}", credential=Secret("word"))

    with pytest.raises(AwayError, match="ACL"):
        ask(config)


def test_valkey_is_a_name_for_the_same_protocol(valkey: RunningValkey) -> None:
    assert ask(Config(url=f"valkey://127.0.0.1:{valkey.port}"))


def test_nothing_listens(valkey: RunningValkey) -> None:
    valkey.kill()

    with pytest.raises(AwayError, match="refused"):
        ask(Config(url=valkey.url))


@pytest.mark.parametrize(
    "url", ["redis+sentinel://a/b", "redis+cluster://a", "http://a", "redis://:word@a", "redis://me:word@a"]
)
def test_other_addresses_are_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: ") as refused:
        Config(url=url)
    assert ":word" not in str(refused.value)
