"""Beyond what a worker can do, requests are refused at once, in the envelope, and health checks are not."""

from __future__ import annotations

import asyncio
import threading

from gateway.api.http.memory import MemoryBudget
from gateway.api.in_flight import InFlight
from gateway.core import Answer, Request
from tests.api.site_server import SiteServer, ask_on, chat_body, chat_head, serve_site


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
        wait_for_work(site, 1)

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


def wait_for_work(site: SiteServer, count: int) -> None:
    for _ in range(500):
        if len(site.flow.requests) == count:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the requests did not arrive")
