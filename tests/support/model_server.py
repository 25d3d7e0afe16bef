"""An OpenAI-compatible server that answers from a script, with logprobs, as vLLM or llama.cpp do."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Script:
    """What the server says, for tests to change while it runs."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer = answer
        """From the text of the last message to the answer."""
        self.model = "small"
        self.version = "1.0"
        self.fingerprint = "fp-1"
        self.probe_logprob = -0.1
        """Stands for the weights."""
        self.logprob = -0.01
        self.status = 200
        self.has_logprobs = True
        self.listing_delay_s = 0.0
        """Before its models are listed."""
        self.delay_s = 0.0
        """Before the first token."""
        self.piece_delay_s = 0.0
        self.cut_after: int | None = None
        """Tokens after which the connection is cut."""
        self.api_key: str | None = None
        self.loras: dict[str, str] = {}
        """Name and path of the adapters that were loaded, as by vLLM."""
        self.started_with: list[str] = []
        """Paths of the adapters that it was started with, as by llama.cpp."""
        self.requests: list[dict[str, Any]] = []
        """Bodies of the completions asked for, without probes."""
        self.abandoned = 0
        """Completions that the client left before their end."""


class ModelServer(ThreadingHTTPServer):
    """Serves until it is closed; `url` ends in /v1."""

    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def __init__(self, script: Script, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.script = script
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.open: set[Any] = set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients leave."""


@contextmanager
def model_server(answer: Callable[[str], str], port: int = 0) -> Iterator[ModelServer]:
    """Run a server until the block ends; then it refuses connections, and open ones break."""
    with ModelServer(Script(answer), port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            stop_server(server)
            thread.join()


def stop_server(server: ModelServer) -> None:
    """Refuse new connections and break those that are open."""
    server.shutdown()
    server.server_close()
    for connection in list(server.open):
        connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ModelServer

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.request)

    def finish(self) -> None:
        self.server.open.discard(self.request)
        super().finish()

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        script = self.server.script
        match self.path:
            case "/v1/models" if (
                script.api_key and self.headers["authorization"] != f"Bearer {script.api_key}"
            ):
                self._reply(401, {"error": {"message": "wrong key"}})
            case "/v1/models":
                time.sleep(script.listing_delay_s)
                entry = {
                    "id": script.model,
                    "object": "model",
                    "created": time.time(),
                    "root": f"/m/{script.model}",
                }
                self._reply(200, {"object": "list", "data": [entry]})
            case "/version":
                self._reply(200, {"version": script.version})
            case "/lora-adapters":
                self._reply(200, [{"id": n, "path": path} for n, path in enumerate(script.started_with)])
            case _:
                self._reply(404, {"error": {"message": "not found"}})

    def do_POST(self) -> None:
        script = self.server.script
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self._is_allowed():
            self._reply(401, {"error": {"message": "wrong key"}})
        elif script.status != 200:
            self._reply(script.status, {"error": {"message": "as scripted"}})
        elif self.path == "/v1/load_lora_adapter":
            self._load_lora(body)
        elif body["model"] not in {script.model, *script.loras}:
            self._reply(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        else:
            self._complete(body)

    def _is_allowed(self) -> bool:
        key = self.server.script.api_key
        return key is None or self.headers["authorization"] == f"Bearer {key}"

    def _load_lora(self, body: dict[str, Any]) -> None:
        loras = self.server.script.loras
        if body["lora_name"] in loras:
            self._reply(400, {"error": {"message": "The lora adapter has already been loaded."}})
            return
        loras[body["lora_name"]] = body["lora_path"]
        self._reply(200, {"message": "Success"})

    def _complete(self, body: dict[str, Any]) -> None:
        script = self.server.script
        is_chat = "messages" in body
        # A prompt of tokens cannot be read here: the script gets their numbers.
        text = body["messages"][-1]["content"] if is_chat else " ".join(map(str, body["prompt"]))
        is_probe = text.startswith("Count from one")
        logprob = script.probe_logprob if is_probe else script.logprob
        if not is_probe:
            script.requests.append(body)
            time.sleep(script.delay_s)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        words = script.answer(text).split()
        tokens = [word + " " for word in words[: body["max_tokens"]]]
        tokens[-1:] = [token.rstrip() for token in tokens[-1:]]
        reason = "stop" if len(tokens) == len(words) else "length"
        try:
            for number, token in enumerate(tokens):
                if number == script.cut_after:
                    return
                chunk = _chunk(token, logprob, script.has_logprobs)
                self._event(chunk if is_chat else _to_older_form(chunk), script.fingerprint)
                time.sleep(script.piece_delay_s)
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}, script.fingerprint)
            usage = {"prompt_tokens": 7, "completion_tokens": len(tokens)}
            self._event({"choices": [], "usage": usage}, script.fingerprint)
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            script.abandoned += 1
        finally:
            self.close_connection = True

    def _event(self, chunk: dict[str, Any], fingerprint: str) -> None:
        chunk = {"id": "c", "object": "chat.completion.chunk", "system_fingerprint": fingerprint, **chunk}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def _reply(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _chunk(token: str, logprob: float, has_logprobs: bool) -> dict[str, Any]:
    rest = math.log(max(1.0 - math.exp(logprob), 1e-9) / 2)
    top = [{"token": token, "logprob": logprob}, {"token": "other", "logprob": rest}]
    content = [{"token": token, "logprob": logprob, "bytes": None, "top_logprobs": top}]
    choice: dict[str, Any] = {"index": 0, "delta": {"content": token}, "finish_reason": None}
    return {"choices": [choice | ({"logprobs": {"content": content}} if has_logprobs else {})]}


def _to_older_form(chunk: dict[str, Any]) -> dict[str, Any]:
    """Return a chat's chunk as one of `/v1/completions`."""
    (choice,) = chunk["choices"]
    (token,) = choice["logprobs"]["content"]
    logprobs = {
        "tokens": [token["token"]],
        "token_logprobs": [token["logprob"]],
        "top_logprobs": [{each["token"]: each["logprob"] for each in token["top_logprobs"]}],
        "text_offset": [0],
    }
    return {"choices": [{"index": 0, "text": token["token"], "logprobs": logprobs, "finish_reason": None}]}
