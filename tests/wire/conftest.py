"""The official client, fed with our answers without a socket."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from openai import OpenAI


@pytest.fixture
def answers() -> list[httpx2.Response]:
    """The answers to the next requests, in their order."""
    return []


@pytest.fixture
def client(answers: list[httpx2.Response]) -> Iterator[OpenAI]:
    transport = httpx2.MockTransport(lambda _: answers.pop(0))
    with OpenAI(
        api_key="k", base_url="http://local/v1", http_client=httpx2.Client(transport=transport)
    ) as official:
        yield official


def event_stream(events: bytes) -> httpx2.Response:
    return httpx2.Response(200, content=events, headers={"content-type": "text/event-stream; charset=utf-8"})
