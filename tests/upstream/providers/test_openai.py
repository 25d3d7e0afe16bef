"""What an OpenAI-compatible teacher sees of a call, and what becomes of its refusals."""

from __future__ import annotations

import msgspec
import pytest

from gateway.core import Header, Secret
from gateway.demo.teacher.faults import Fault
from gateway.errors import ConfigError, UpstreamCredentialError
from gateway.upstream.base import Call, Config, Transport
from gateway.upstream.providers.openai import create
from tests.support.teacher import RunningTeacher
from tests.upstream.conftest import RawTeacher, read

CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"ping"}]}'


def chat(*headers: Header) -> Call:
    return Call(method="POST", target=b"/v1/chat/completions", headers=headers, body=CHAT, is_repeatable=True)


@pytest.mark.parametrize(
    ("suffix", "arrives"),
    [
        ("", b"/v1/files/a%2Fb?x=1"),
        ("/", b"/v1/files/a%2Fb?x=1"),
        ("/v1", b"/v1/files/a%2Fb?x=1"),
        ("/v1/", b"/v1/files/a%2Fb?x=1"),
        ("/team%20a/openai/v1", b"/team%20a/openai/v1/files/a%2Fb?x=1"),
        ("/v1beta/openai/", b"/v1beta/openai/files/a%2Fb?x=1"),
    ],
)
async def test_a_base_url_is_joined_as_openais_sdks_join_it(
    client: Transport, raw: RawTeacher, suffix: str, arrives: bytes
) -> None:
    teacher = create(Config(base_url=raw.origin + suffix), client)

    await teacher.ask(Call(method="GET", target=b"/v1/files/a%2Fb?x=1", headers=()))

    assert raw.asked[0].split(b" ")[1] == arrives


@pytest.mark.parametrize(
    "base_url",
    ["api.example/v1", "ftp://a/v1", "http://a/v1?x=1", "http://u:p@a/v1", "http://", "http://a:x"],
)
async def test_a_base_url_which_cannot_work_is_refused(client: Transport, base_url: str) -> None:
    with pytest.raises(ConfigError):
        create(Config(base_url=base_url), client)


async def test_forwarding_passes_the_clients_credential(client: Transport, teacher: RunningTeacher) -> None:
    call = chat((b"authorization", b"Bearer sk-client"), (b"openai-project", b"p"))

    await read((await create(Config(base_url=teacher.base_url), client).ask(call)).body)

    seen = teacher.control.seen[0]
    assert (seen.header("authorization"), seen.header("openai-project")) == (["Bearer sk-client"], ["p"])


async def test_an_own_key_replaces_every_credential_of_the_client(
    client: Transport, teacher: RunningTeacher
) -> None:
    config = Config(base_url=teacher.base_url, api_key=Secret("sk-own"), project="ours")
    call = chat(
        (b"authorization", b"Bearer sd-client"),
        (b"api-key", b"sd-client"),
        (b"openai-organization", b"theirs"),
    )

    await read((await create(config, client).ask(call)).body)

    seen = teacher.control.seen[0]
    assert seen.header("authorization") == ["Bearer sk-own"]
    assert seen.header("openai-project") == ["ours"]
    assert "sd-client" not in str(seen.headers)
    assert "theirs" not in str(seen.headers)


async def test_a_refusal_of_our_own_key_is_our_fault(client: Transport, teacher: RunningTeacher) -> None:
    teacher.control.fail_next(Fault(status=401))
    own = create(Config(base_url=teacher.base_url, api_key=Secret("sk-own")), client)

    with pytest.raises(UpstreamCredentialError):
        await own.ask(chat())


@pytest.mark.parametrize("key", [None, Secret("sk-own")])
async def test_what_an_accepted_key_may_not_do_is_told_in_the_teachers_words(
    client: Transport, raw: RawTeacher, key: Secret | None
) -> None:
    raw.script = [b"HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\nno gpt-5!"]

    reply = await create(Config(base_url=raw.origin, api_key=key), client).ask(chat())

    assert (reply.status, await read(reply.body)) == (403, b"no gpt-5!")


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_an_error_that_repeats_our_key_does_not_show_it(
    client: Transport, raw: RawTeacher, size: int
) -> None:
    """In whatever pieces it comes, and without changing its length."""
    said = b'{"error":{"message":"sk-o: no access for sk-own-key-1, sk-own-key-1"}}'
    pieces = [said[start : start + size] for start in range(0, len(said), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    raw.script = [b"HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"]
    own = create(Config(base_url=raw.origin, api_key=Secret("sk-own-key-1")), client)

    reply = await own.ask(chat())

    assert await read(reply.body) == said.replace(b"sk-own-key-1", b"*" * 12)


async def test_a_word_that_is_no_secret_is_not_masked(client: Transport, raw: RawTeacher) -> None:
    raw.script = [b"HTTP/1.1 400 Bad Request\r\ncontent-length: 11\r\n\r\nprompt none"]
    own = create(Config(base_url=raw.origin, api_key=Secret("none")), client)

    assert await read((await own.ask(chat())).body) == b"prompt none"


async def test_a_refusal_of_the_clients_key_is_the_clients(
    client: Transport, teacher: RunningTeacher
) -> None:
    teacher.control.fail_next(Fault(status=401))

    reply = await create(Config(base_url=teacher.base_url), client).ask(chat())

    assert reply.status == 401
    await reply.body.aclose()


async def test_headers_of_the_hop_and_of_stepdown_stay_here(
    client: Transport, teacher: RunningTeacher
) -> None:
    call = chat(
        (b"host", b"gateway.example"),
        (b"connection", b"keep-alive, x-once"),
        (b"x-once", b"1"),
        (b"x-stepdown-mode", b"teacher"),
        (b"expect", b"100-continue"),
        (b"content-length", b"64"),
        (b"x-kept", b"1"),
        (b"x-kept", b"2"),
    )

    await read((await create(Config(base_url=teacher.base_url), client).ask(call)).body)

    headers = teacher.control.seen[0].headers
    assert headers[1:] == [("x-kept", "1"), ("x-kept", "2"), ("content-length", str(len(CHAT)))]
    assert headers[0] == ("host", f"127.0.0.1:{teacher.port}")


@pytest.mark.parametrize("target", [b"/v1/chat/completions", b"/v1/responses?a=b"])
async def test_what_the_observers_read_comes_in_encodings_which_they_can_undo(
    client: Transport, teacher: RunningTeacher, target: bytes
) -> None:
    call = msgspec.structs.replace(chat((b"accept-encoding", b"gzip, br, zstd")), target=target)

    await read((await create(Config(base_url=teacher.base_url), client).ask(call)).body)

    assert teacher.control.seen[0].header("accept-encoding") == ["gzip"]


async def test_what_passes_through_may_be_encoded_as_the_client_likes(
    client: Transport, teacher: RunningTeacher
) -> None:
    call = Call(method="GET", target=b"/v1/models", headers=((b"accept-encoding", b"br"),))

    await read((await create(Config(base_url=teacher.base_url), client).ask(call)).body)

    assert teacher.control.seen[0].header("accept-encoding") == ["br"]


async def test_a_connection_which_the_teacher_closed_while_idle_costs_the_client_nothing(
    client: Transport, raw: RawTeacher
) -> None:
    teacher = create(Config(base_url=raw.origin), client)
    assert (await teacher.ask(chat())).status == 200
    raw.script = [None]

    reply = await teacher.ask(chat())

    assert (reply.status, reply.retries, await read(reply.body)) == (200, 0, b"ok")
    assert raw.connections == 2


@pytest.mark.parametrize("key", [None, Secret("sk-own")])
async def test_the_next_gateway_is_told_through_which_the_request_came(
    client: Transport, teacher: RunningTeacher, key: Secret | None
) -> None:
    """With our own key other networks are none of its business; without one the client's words pass."""
    there = create(Config(base_url=teacher.base_url, api_key=key), client, "b2")

    await read((await there.ask(chat((b"cdn-loop", b"cloudflare, stepdown;id=a1")))).body)

    seen = ", ".join(teacher.control.seen[0].header("cdn-loop"))
    assert seen == ("cloudflare, " if key is None else "") + "stepdown;id=a1, stepdown;id=b2"
