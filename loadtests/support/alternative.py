"""What a user would run instead of a head: sentence-transformers and scikit-learn behind an ASGI server.

`python -m loadtests.support.alternative PAIRS` trains on the JSON Lines file PAIRS, prints its port, and
serves POST of a chat request until its input closes. The bare ASGI application costs less than FastAPI,
which is not a dependency here: it flatters the alternative.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from gateway.demo.run import read_traffic
from gateway.distill.recipes.span.pretrained import find_pretrained


def main() -> None:
    """Train, print the port, serve."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    pairs = read_traffic(Path(sys.argv[1]))
    encoder: Any = SentenceTransformer(str(find_pretrained()), device="cpu")
    texts = [pair.messages[-1]["content"] for pair in pairs]
    model: Any = LogisticRegression(C=10.0, max_iter=200)
    model.fit(encoder.encode(texts, show_progress_bar=False), [pair.answer for pair in pairs])

    def classify(body: bytes) -> bytes:
        question = msgspec.json.decode(body)["messages"][-1]["content"]
        vector = encoder.encode([question], show_progress_bar=False)
        message = {"role": "assistant", "content": str(model.predict(vector)[0])}
        return msgspec.json.encode({"choices": [{"index": 0, "message": message}]})

    asyncio.run(_serve(classify))


async def _serve(classify: Callable[[bytes], bytes]) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(_application(classify), log_level="error", lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


def _application(classify: Callable[[bytes], bytes]) -> Any:
    async def application(
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        body, has_more = b"", True
        while has_more:
            event = await receive()
            body += event.get("body", b"")
            has_more = event.get("more_body", False)
        # In a thread, as FastAPI runs a plain function.
        answer = await asyncio.to_thread(classify, body)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return application


if __name__ == "__main__":
    main()
