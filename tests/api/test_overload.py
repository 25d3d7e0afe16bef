"""Beyond what a worker can do, requests are refused at once, in the envelope, and health checks are not."""

from __future__ import annotations

import asyncio
import re
import socket
import threading

from gateway.api.auth import Authenticator
from gateway.api.http.memory import MemoryBudget
from gateway.api.in_flight import InFlight
from gateway.core import Answer, Request
from gateway.store.keys import KeyFacts, hash_key
from tests.api.site_server import SiteServer, ask_on, chat_body, chat_head, serve_site
from tests.support.waiting import wait_for


async def never(_: Request) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


def test_requests_beyond_the_limit_get_503_on_a_connection_that_stays_open() -> None:
    with serve_site(in_flight=InFlight(3, is_shared=False)) as site:
        site.flow.answer = never
        busy = [site.open_socket(chat_head(len(chat_body())) + chat_body()) for _ in range(3)]
        wait_for_work(site, 3)
        connection = site.connect()

        refused = [ask_on(connection, "POST", "/v1/chat/completions", chat_body()) for _ in range(3)]
        health = ask_on(connection, "GET", "/readyz")

        for answer in refused:
            assert (answer.status, answer.error["code"]) == (503, "overloaded")
            assert answer.header("retry-after") == "1"
            assert answer.header("x-stepdown-request-id")
        assert health.status == 200
        assert len(site.flow.requests) == 3
        connection.close()
        for sock in busy:
            sock.close()


def test_a_refusal_is_the_same_however_the_request_arrives() -> None:
    with serve_site(in_flight=InFlight(1, is_shared=False)) as site:
        site.flow.answer = never
        busy = site.open_socket(chat_head(len(chat_body())) + chat_body())
        wait_for_work(site, 1)
        head, body = chat_head(len(chat_body())), chat_body()

        with site.open_socket(head + body) as sock:
            answers = [read_answer(sock)]
            sock.sendall(head)
            answers.append(read_answer(sock))
            # The rest of a refused request is no request.
            sock.sendall(body)
            sock.sendall(head + body + head + body)
            answers += [read_answer(sock), read_answer(sock)]
            sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            health = read_answer(sock)
        busy.close()

        assert health.startswith(b"HTTP/1.1 200")
        assert len({without_ids(answer) for answer in answers}) == 1
        assert len(set(answers)) == 4
        assert len(site.flow.requests) == 1


def test_one_key_beyond_its_share_is_refused_and_another_finds_a_place() -> None:
    keys = {
        hash_key(secret): KeyFacts(id=name, name=name, tenant="t", created_at=0.0)
        for name, secret in (("greedy", b"sd-greedy"), ("modest", b"sd-modest"))
    }
    with serve_site(Authenticator("keys", keys.get), in_flight=InFlight(8)) as site:
        site.flow.answer = never
        greedy = chat_head(len(chat_body()), b"authorization: Bearer sd-greedy\r\n") + chat_body()
        modest = chat_head(len(chat_body()), b"authorization: Bearer sd-modest\r\n") + chat_body()
        busy = [site.open_socket(greedy) for _ in range(6)]
        wait_for_work(site, 6)

        answers = []
        for _ in range(3):
            # One socket each: the first refusal is of a request that was read, and closes.
            with site.open_socket(greedy) as sock:
                answers.append(read_answer(sock))
        busy.append(site.open_socket(modest))

        wait_for_work(site, 7)
        assert {answer[9:12] for answer in answers} <= {b"429", b"503"}
        assert all(b"retry-after: 1" in answer for answer in answers)
        for sock in busy:
            sock.close()


def test_places_are_free_again_when_answers_end_or_clients_leave() -> None:
    with serve_site(in_flight=InFlight(2, is_shared=False)) as site:
        site.flow.answer = never
        busy = [site.open_socket(chat_head(len(chat_body())) + chat_body()) for _ in range(2)]
        wait_for_work(site, 2)
        for sock in busy:
            sock.close()
        assert site.flow.signals.cancelled.wait(10)
        site.flow.answer = site.flow.default_answer

        statuses = {site.chat().status for _ in range(50)}

        assert 200 in statuses
        assert site.chat().status == 200


def test_bodies_that_find_no_memory_get_503_and_leave_none_behind() -> None:
    budget = MemoryBudget(3 << 20, wait_s=0.05)
    with serve_site(memory=budget) as site:
        site.flow.answer = never
        body = chat_body(messages=[{"role": "user", "content": "x" * 900_000}])
        busy = site.open_socket(chat_head(len(body)) + body)
        wait_for(lambda: budget.taken > 2 * len(body), "the body does not arrive")

        refused = site.ask("POST", "/v1/chat/completions", body)
        site.flow.answer = site.flow.default_answer
        small = site.chat()
        busy.close()
        assert site.flow.signals.cancelled.wait(10)

        assert (refused.status, refused.error["code"]) == (503, "overloaded")
        assert refused.header("retry-after") == "1"
        assert small.status == 200
        assert site.ask("POST", "/v1/chat/completions", body).status == 200
        assert budget.taken == 0


def read_answer(sock: socket.socket) -> bytes:
    """Return one whole answer of ours."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(1)
    length = int(re.findall(rb"content-length: (\d+)", received)[0])
    while len(received) < received.index(b"\r\n\r\n") + 4 + length:
        received += sock.recv(1)
    return received


def without_ids(answer: bytes) -> bytes:
    return re.sub(rb"date: .*\r\n", b"", re.sub(rb"\b[0-9a-f]{32}\b", b"", answer))


def wait_for_work(site: SiteServer, count: int) -> None:
    for _ in range(500):
        if len(site.flow.requests) == count:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the requests did not arrive")
