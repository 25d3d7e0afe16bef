"""The official client before answers of ours, without a socket."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from openai import OpenAI


@pytest.fixture
def answers() -> list[httpx2.Response]:
    """What the server says to the next requests."""
    return []


@pytest.fixture
def client(answers: list[httpx2.Response]) -> Iterator[OpenAI]:
    transport = httpx2.MockTransport(lambda _: answers.pop(0))
    with OpenAI(
        api_key="k", base_url="http://local/v1", http_client=httpx2.Client(transport=transport)
    ) as made:
        yield made


def streamed(events: bytes) -> httpx2.Response:
    return httpx2.Response(200, content=events, headers={"content-type": "text/event-stream; charset=utf-8"})
