"""The requests of a load: chat completions of a given size, as OpenAI's Python client would send them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.demo.tickets import PROMPT, generate_tickets
from loadtests.peers.teacher import PLAIN

Headers = Sequence[tuple[str, str]]
DIFFERENT = 100
"""How many requests of a load differ; then it starts again."""
_USUAL: Headers = (
    ("host", "127.0.0.1"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate"),
    ("content-type", "application/json"),
    ("user-agent", "OpenAI/Python"),
)


def build_requests(size_bytes: int, headers: Headers, answer: str = PLAIN) -> list[bytes]:
    """Return whole HTTP requests with bodies of `size_bytes`; `answer` says what the teacher answers.

    The system message, an app's template, is the same in all of them.
    """
    questions = [str(pair.messages[-1]["content"]) for pair in generate_tickets(DIFFERENT, seed=1)]
    longest = max(map(len, questions))
    room = size_bytes - len(_body("", " " * longest, answer))
    template = (f"{PROMPT} " * (room // len(PROMPT) + 1))[:room]
    return [_request(_body(template, question.ljust(longest), answer), headers) for question in questions]


def _body(template: str, question: str, answer: str) -> bytes:
    messages = [
        {"role": "system", "content": template},
        {"role": "user", "content": f"{question} {answer}"},
    ]
    return msgspec.json.encode({"model": "gpt-4o", "messages": messages, "stream": answer != PLAIN})


def _request(body: bytes, headers: Headers) -> bytes:
    lines = [*_USUAL, *headers, ("content-length", str(len(body)))]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + body
