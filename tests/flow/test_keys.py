"""Keys on real processes: usable at once, within their limits over all workers, and over when they end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import openai
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from gateway.demo.teacher.faults import Fault
from tests.api.site_server import CHAT, HttpAnswer, ask_on, chat_body
from tests.flow.conftest import TEACHER_KEY
from tests.flow.test_realtime import realtime_teacher
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for

WORKERS = 3
SENDERS = 12


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    """Three workers that hold the teacher's key."""
    with gateway_process(
        home,
        "--workers",
        str(WORKERS),
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_LEARN_ENABLED="false",
    ) as gateway:
        yield gateway


def make_key(gateway: RunningGateway, name: str, *terms: str) -> str:
    made = stepdown(gateway.home, "keys", "create", "--name", name, *terms)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_a_new_key_is_good_the_moment_its_command_returns(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    """For every worker: each connection may land on another."""
    key = make_key(gateway, "at once")

    assert {gateway.chat(bearer(key)).status for _ in range(2 * WORKERS)} == {200}


def test_a_rotated_key_has_two_good_secrets_at_once(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    old = make_key(gateway, "rotated")
    new = stepdown(gateway.home, "keys", "rotate", "rotated", "--overlap", "1h").stdout.strip()

    assert {gateway.chat(bearer(key)).status for key in (old, new) for _ in range(WORKERS)} == {200}


def send_until(gateway: RunningGateway, key: str, until: float, got: list[HttpAnswer]) -> None:
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_S)
    with closing(connection):
        while time.monotonic() < until:
            got.append(ask_on(connection, "POST", CHAT, chat_body(), bearer(key)))


def test_a_limit_on_requests_holds_over_all_workers(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    """Twelve connections over three workers ask for more than a burst and its refill: 2 % off at most."""
    limit, lasts_s = 120, 5.0
    key = make_key(gateway, "limited", "--requests-per-minute", str(limit))
    got: list[HttpAnswer] = []
    begun = time.monotonic()
    senders = [
        threading.Thread(target=send_until, args=(gateway, key, begun + lasts_s, got)) for _ in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    took_s = time.monotonic() - begun

    admitted = sum(answer.status == 200 for answer in got)
    assert {answer.status for answer in got} == {200, 429}
    assert admitted <= (limit + limit / 60 * took_s) * 1.02 + 1
    assert admitted >= (limit + limit / 60 * lasts_s) * 0.98 - 1

    refused = next(answer for answer in got if answer.status == 429)
    assert (refused.error["code"], refused.error["type"]) == ("rate_limit_exceeded", "requests")
    assert refused.header("x-ratelimit-limit-requests") == str(limit)
    assert 0 < int(refused.header("retry-after-ms") or 0) <= 500
    assert refused.header("x-should-retry") is None


def test_a_change_holds_in_all_workers(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    """Each connection may land on another worker."""
    key = make_key(gateway, "changing", "--model", "gpt-5*")
    assert gateway.chat(bearer(key)).status == 403

    for terms, status in ((("--model", "all"), 200), (("--usd-per-day", "0"), 429)):
        assert stepdown(gateway.home, "keys", "change", "changing", *terms).returncode == 0
        wait_for(
            lambda: {gateway.chat(bearer(key)).status for _ in range(4 * WORKERS)} == {status},  # noqa: B023
            "not every worker knows the change",
        )


def test_concurrent_requests_are_counted_over_all_workers_and_a_killed_one_leaks_none(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    key = make_key(gateway, "few", "--concurrent-requests", "4")
    for _ in range(4):
        teacher.control.fail_next(Fault(is_hung=True))
    held = [begin(gateway, key) for _ in range(4)]
    wait_for(lambda: teacher.control.requests >= 4, "the teacher was not asked")

    assert {gateway.chat(bearer(key)).status for _ in range(2 * WORKERS)} == {429}

    for _ in range(WORKERS):
        gateway.kill("gateway.processes.worker")
        time.sleep(0.1)
    for connection in held:
        connection.close()
    wait_for(lambda: [chat_status(gateway, key) for _ in range(4)] == [200] * 4, "a request leaked")


def chat_status(gateway: RunningGateway, key: str) -> int:
    try:
        return gateway.chat(bearer(key)).status
    except OSError:
        return 0


def begin(gateway: RunningGateway, key: str, **fields: object) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_S)
    connection.request("POST", CHAT, chat_body(**fields), bearer(key))
    return connection


def test_tokens_are_settled_by_what_the_teacher_reports(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    key = make_key(gateway, "wordy", "--tokens-per-minute", "100000")

    answer = gateway.chat(bearer(key), max_tokens=50_000)

    left = int(answer.header("x-ratelimit-remaining-tokens") or 0)
    assert 49_000 < left < 50_100
    wait_for(lambda: used(gateway, "wordy", "tokens a minute") < 1_000, "the tokens are not settled")


def used(gateway: RunningGateway, name: str, limit: str) -> float:
    shown = json.loads(stepdown(gateway.home, "keys", "show", name, "--json").stdout)
    return float(next(use["used"] for use in shown["use"] if use["name"] == limit))


def test_the_dollars_of_a_key_are_booked_as_its_answers_come(gateway: RunningGateway) -> None:
    key = make_key(gateway, "paying", "--usd-per-day", "1")

    assert gateway.chat(bearer(key)).status == 200

    wait_for(lambda: 0 < used(gateway, "paying", "$ a day") < 0.01, "the answer is not booked")


def test_a_key_without_the_dollars_for_an_answer_is_told_when_to_come_back(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    """What an answer may cost is set aside before the teacher is asked; the official client asks once."""
    key = make_key(gateway, "poor", "--usd-per-day", "0.000001")
    asked = teacher.control.requests

    with (
        openai.OpenAI(base_url=gateway.base_url, api_key=key) as client,
        pytest.raises(openai.RateLimitError) as refusal,
    ):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])

    headers = refusal.value.response.headers
    assert refusal.value.code == "budget_exceeded"
    assert "key 'poor'" in str(refusal.value)
    assert headers["x-should-retry"] == "false"
    assert 0 < int(headers["retry-after"]) <= 86_400
    assert teacher.control.requests == asked


def test_a_stream_of_a_revoked_key_ends_within_a_second_with_an_error_event(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    key = make_key(gateway, "streaming")
    teacher.control.fail_next(Fault(chunk_delay_ms=500))
    with openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=0) as client:
        stream = client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "x" * 400}], stream=True
        )
        next(iter(stream))
        assert stepdown(gateway.home, "keys", "revoke", "streaming").returncode == 0
        revoked_at = time.monotonic()

        with pytest.raises(openai.APIError) as ended:
            list(stream)

    assert ended.value.code == "invalid_api_key"
    assert time.monotonic() - revoked_at < 1.0
    wait_for(lambda: gateway.chat(bearer(key)).status == 401, "a revoked key is still admitted")


def test_a_request_of_a_revoked_key_that_waits_for_the_teacher_ends_too(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    key = make_key(gateway, "waiting")
    teacher.control.fail_next(Fault(is_hung=True))
    with closing(begin(gateway, key)) as connection:
        wait_for(lambda: teacher.control.requests == 1, "the teacher was not asked")
        stepdown(gateway.home, "keys", "revoke", "waiting")

        answer = connection.getresponse()

        assert answer.status == 401
        assert b"revoked" in answer.read()


def test_a_websocket_of_a_revoked_key_is_closed_within_a_second(tmp_path: Path) -> None:
    with (
        realtime_teacher() as teacher,
        gateway_process(
            tmp_path / "home",
            OPENAI_BASE_URL=f"http://127.0.0.1:{teacher.port}/v1",
            OPENAI_API_KEY="sk-own",
            STEPDOWN_LEARN_ENABLED="false",
        ) as gateway,
    ):
        key = make_key(gateway, "talking", "--concurrent-requests", "1")
        url = f"ws://127.0.0.1:{gateway.port}/v1/realtime?model=x"
        with connect(url, additional_headers=bearer(key)) as connection:
            connection.recv()
            assert gateway.ask("GET", "/v1/files", headers=bearer(key)).status == 429
            assert stepdown(gateway.home, "keys", "revoke", "talking").returncode == 0
            revoked_at = time.monotonic()

            assert json.loads(connection.recv())["error"]["code"] == "invalid_api_key"
            with pytest.raises(ConnectionClosed):
                connection.recv()

        assert time.monotonic() - revoked_at < 1.0
        assert teacher.left.wait(PATIENCE_S)


def test_refusals_are_counted_by_reason_and_key_and_logged_sparingly(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    key = make_key(gateway, "narrow", "--path", "/v1/models", "--model", "gpt-4o*")
    refused: Any = [gateway.chat(bearer(key)) for _ in range(9)]

    assert {(got.status, got.error["code"]) for got in refused} == {(403, "path_not_allowed")}
    assert {got.header("x-stepdown-decision") for got in refused} == {"refused"}
    assert {got.header("x-stepdown-reason") for got in refused} == {"path not allowed"}

    counted = 'stepdown_refusals_total{key="narrow",policy="",reason="path not allowed",status="403"} 9.0'
    wait_for(lambda: counted in metrics(gateway), "the refusals are not counted")
    assert 1 <= gateway.log().count("403 path not allowed") <= WORKERS


def metrics(gateway: RunningGateway) -> str:
    connection = HTTPConnection("127.0.0.1", int(gateway.admin_url.rpartition(":")[2]), timeout=PATIENCE_S)
    with closing(connection):
        return ask_on(connection, "GET", "/metrics").body.decode()
