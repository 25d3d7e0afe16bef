"""The simulated teacher over HTTP, as a command or inside a test."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from pathlib import Path

import uvicorn

from gateway.demo.teacher.answers import read_pairs
from gateway.demo.teacher.app import SimulatedTeacher


def main(arguments: list[str] | None = None) -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.teacher")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints it")
    parser.add_argument("--pairs", type=Path, help="JSON lines of {messages, answer}")
    parser.add_argument("--latency-ms", type=float, default=0, help="delay before the head of each answer")
    parser.add_argument("--model", default="gpt-4o", help="the model that /v1/models lists")
    parser.add_argument("--api-key", help="refuse every other key")
    options = parser.parse_args(arguments)

    pairs = read_pairs(options.pairs.read_bytes().splitlines()) if options.pairs else {}
    teacher = SimulatedTeacher(
        pairs, model=options.model, latency_ms=options.latency_ms, api_key=options.api_key
    )
    listener = socket.create_server(("127.0.0.1", options.port), backlog=2048)
    # From here on the kernel queues connections: no client is too early.
    sys.stdout.write(f'{{"port": {listener.getsockname()[1]}}}\n')
    sys.stdout.flush()
    create_server(teacher).run(sockets=[listener])


def create_server(teacher: SimulatedTeacher) -> uvicorn.Server:
    """Return the server of `teacher`; it logs nothing."""
    # A cut answer is an error for uvicorn, and a scripted fault for us.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        teacher,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
