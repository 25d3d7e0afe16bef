"""Measures the gateway's own part of a call: milliseconds, CPU, memory, and the time to start.

`python -m loadtests.overhead` measures `stepdown serve` as it is shipped, with one worker, in front of
a simulated teacher that answers at once. Everything is on this machine, so only ratios and medians mean
something while others use it; the table shows each figure beside its bar.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from rich.console import Console

from gateway.demo.stack import Stack
from gateway.demo.teacher.faults import CHUNK_BYTES, Fault
from gateway.demo.tickets import PROMPT, Pair, generate_tickets
from gateway.store.run_file import read_run_file
from loadtests.support.generator import Generator, Job
from loadtests.support.overhead_figures import Figures, build_table
from loadtests.support.processes import child_named, cpu_s, rss_mb, waited_s

ROUNDS = 8
PER_ROUND = 250
SATURATING = 32
STREAMS, STREAMS_AT_ONCE, CHUNKS = 100, 16, 100
CHUNK_DELAY_MS = 1.0
BATCH, BATCH_AT_ONCE = 200, 8
MOST_TICKETS = 4_000
LOCAL_QUESTIONS = 400
CERTIFY_LIMIT_S = 40.0
HELP_RUNS = 7
# The quality demanded does not change the speed: an easy certificate comes sooner.
EASY_POLICY = """
policies:
  - name: easy
    alpha: 0.1
    audit: {shadow: 0.5, certified: 0.02}
"""


def main() -> None:
    """Measure and print; a failed request ends it with a traceback."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.overhead", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each of three rounds at saturation")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()

    with Generator() as generator:
        figures = measure(generator, options.seconds)
    encoded = msgspec.json.format(msgspec.json.encode(figures), indent=2)
    if options.json:
        options.json.write_bytes(encoded)
    print(encoded.decode())
    Console().print(build_table(figures))


def measure(generator: Generator, seconds: float) -> Figures:
    """Return the figures; `seconds` is the length of a round at saturation."""
    load = round(os.getloadavg()[0], 1)
    numbers = dict(zip(("help_ms", "help_cpu_ms"), _run_ms("-m", "gateway", "--help"), strict=True))
    numbers["bare_python_ms"] = _run_ms("-c", "pass")[0]
    # A learner at work would take the core of the teacher or the generator.
    with Stack(environment={"STEPDOWN_LEARN_INTERVAL_S": "3600"}) as stack:
        early = _first_answer_s(stack, generator)
        numbers |= _latency(stack, generator) | _saturation(stack, generator, seconds)
        numbers |= _streams(stack, generator)
    with _quick_stack() as stack:
        numbers["first_answer_s"] = statistics.median([early, _first_answer_s(stack, generator)])
        local_ms, host_ms = _local_ms(stack, generator)
        memory = _memory(stack)
    return Figures(
        load_average=load,
        local_p50_ms=_rounded(_quantile(local_ms, 0.5)) if local_ms else None,
        local_p99_ms=_rounded(_quantile(local_ms, 0.99)) if local_ms else None,
        local_answers=len(local_ms),
        local_host_cpu_ms=host_ms,
        **memory,
        **{name: _rounded(number) for name, number in numbers.items()},
    )


@contextlib.contextmanager
def _quick_stack() -> Iterator[Stack]:
    """Run a stack whose learner looks twice per second and whose policy certifies soon."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "easy.yaml").write_text(EASY_POLICY)
        environment = {"STEPDOWN_LEARN_INTERVAL_S": "0.5"}
        with Stack(environment=environment, policies=Path(folder)) as stack:
            yield stack


def _latency(stack: Stack, generator: Generator) -> dict[str, float]:
    """Compare one request at a time through the gateway and without it, in alternating rounds."""
    requests = _requests(generate_tickets(PER_ROUND, seed=1))
    worker = _pid(stack, "gateway.processes.worker")
    found: dict[str, list[float]] = {}
    waits: list[float] = []
    for _ in range(ROUNDS):
        for name, url in (("direct", stack.teacher_url), ("through", stack.gateway_url)):
            job = Job(port=_port(url), requests=requests, in_flight=1, count=PER_ROUND)
            before = waited_s(worker)
            latencies = list(itertools.chain(*generator.run(job).latencies_ms.values()))
            waits.append((waited_s(worker) - before) / (sum(latencies) / 1000))
            found.setdefault(f"{name}_p50_ms", []).append(_quantile(latencies, 0.5))
            found.setdefault(f"{name}_p99_ms", []).append(_quantile(latencies, 0.99))
    medians = {name: statistics.median(values) for name, values in found.items()}
    return medians | {
        "added_p50_ms": _median_gap(found["through_p50_ms"], found["direct_p50_ms"]),
        "added_p99_ms": _median_gap(found["through_p99_ms"], found["direct_p99_ms"]),
        "worker_waited_share": statistics.median(waits[1::2]),
        "ratio_p50": medians["through_p50_ms"] / medians["direct_p50_ms"],
    }


def _saturation(stack: Stack, generator: Generator, seconds: float) -> dict[str, float]:
    """Measure the worker under more requests than it can serve, and the teacher under the same."""
    requests = _requests(generate_tickets(PER_ROUND, seed=1))
    worker = _pid(stack, "gateway.processes.worker")
    cpu_us, rates, generator_us = [], [], []
    for _ in range(3):
        before = cpu_s(worker)
        job = Job(port=_port(stack.gateway_url), requests=requests, in_flight=SATURATING, seconds=seconds)
        result = generator.run(job)
        cpu_us.append((cpu_s(worker) - before) / result.answers * 1e6)
        rates.append(result.answers / result.seconds)
        generator_us.append(result.cpu_s / result.answers * 1e6)
    direct = Job(port=_port(stack.teacher_url), requests=requests, in_flight=SATURATING, seconds=seconds / 2)
    result = generator.run(direct)
    return {
        "cpu_us_per_request": statistics.median(cpu_us),
        "requests_per_s_per_core": 1e6 / statistics.median(cpu_us),
        "requests_per_s": statistics.median(rates),
        "direct_requests_per_s": result.answers / result.seconds,
        "generator_cpu_us_per_request": statistics.median(generator_us),
    }


def _streams(stack: Stack, generator: Generator) -> dict[str, float]:
    """Measure the worker's CPU for streams of single chunks."""
    requests = _requests(generate_tickets(STREAMS, seed=1), is_streamed=True)
    worker = _pid(stack, "gateway.processes.worker")
    cpu_us, chunks = [], []
    for _ in range(3):
        script = msgspec.json.encode([Fault(body=_stream(), chunk_delay_ms=CHUNK_DELAY_MS)] * STREAMS)
        _post(f"{stack.teacher_url}/__teacher/faults", script)
        before = cpu_s(worker)
        job = Job(port=_port(stack.gateway_url), requests=requests, in_flight=STREAMS_AT_ONCE, count=STREAMS)
        result = generator.run(job)
        cpu_us.append((cpu_s(worker) - before) / STREAMS * 1e6)
        chunks.append(result.pieces / STREAMS)
    return {
        "cpu_us_per_stream": statistics.median(cpu_us),
        "cpu_us_per_chunk": statistics.median(cpu / count for cpu, count in zip(cpu_us, chunks, strict=True)),
        "chunks_per_stream": statistics.median(chunks),
    }


def _local_ms(stack: Stack, generator: Generator) -> tuple[list[float], float | None]:
    """Send tickets until their specialist is certified; return the latencies of its next answers.

    Also the CPU of each in the model host. Returns nothing after CERTIFY_LIMIT_S without a certificate.
    """
    tickets = list(generate_tickets(MOST_TICKETS, seed=1))
    questions = list(generate_tickets(LOCAL_QUESTIONS, seed=2))
    stack.set_pairs([*tickets, *questions])
    give_up_at = time.monotonic() + CERTIFY_LIMIT_S
    remaining = iter(tickets)
    while not _is_certified(stack):
        if time.monotonic() > give_up_at:
            return [], None
        if pairs := list(itertools.islice(remaining, BATCH)):
            generator.run(_job(stack, pairs, BATCH_AT_ONCE))
        # Traffic that outruns the learner would be wasted.
        time.sleep(0.3)
    host = _pid(stack, "gateway.specialists.host.process")
    before = cpu_s(host)
    latencies = generator.run(_job(stack, questions, 1)).latencies_ms.get("local", [])
    return latencies, _rounded((cpu_s(host) - before) / len(questions) * 1000)


def _is_certified(stack: Stack) -> bool:
    return any(task["stage"] == "live" for task in stack.status()["tasks"])


def _job(stack: Stack, pairs: Sequence[Pair], in_flight: int) -> Job:
    requests = _requests(pairs)
    return Job(port=_port(stack.gateway_url), requests=requests, in_flight=in_flight, count=len(requests))


def _memory(stack: Stack) -> dict[str, float]:
    modules = {
        "worker": "gateway.processes.worker",
        "host": "gateway.specialists.host.process",
        "learner": "gateway.processes.learner",
    }
    found = {f"{name}_rss_mb": rss_mb(_pid(stack, module)) for name, module in modules.items()}
    found["supervisor_rss_mb"] = rss_mb(read_run_file(stack.home).pid)
    return {name: _rounded(value) for name, value in found.items()}


def _first_answer_s(stack: Stack, generator: Generator) -> float:
    """Return the seconds from the start of `stepdown serve` to its first answer."""
    result = generator.run(_job(stack, list(generate_tickets(1, seed=1)), 1))
    return stack.started_in_s + result.seconds


def _requests(pairs: Iterable[Pair], *, is_streamed: bool = False) -> list[bytes]:
    """Return whole HTTP requests of about 1 KB, as OpenAI's Python client would send them."""
    found = []
    for pair in pairs:
        # The tickets' own prompt is short for a narrow task: twice of it makes a typical body.
        messages = [{"role": "system", "content": f"{PROMPT}\n{PROMPT}"}, pair.messages[-1]]
        body = msgspec.json.encode({"model": "gpt-4o", "messages": messages, "stream": is_streamed})
        found.append(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n"
            b"accept-encoding: gzip, deflate\r\ncontent-type: application/json\r\n"
            b"user-agent: OpenAI/Python\r\nauthorization: Bearer any\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
    return found


def _stream() -> bytes:
    """Return a stream of CHUNKS events, each as long as a chunk of the simulated teacher."""
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
    event = frame % (b"x" * (CHUNK_BYTES - len(frame % b"")))
    end = b'data: {"choices":[{"index":0,"finish_reason":"stop","delta":{}}]}'
    done = b"data: [DONE]\n\n"
    last = end.ljust(2 * CHUNK_BYTES - len(done) - 2) + b"\n\n" + done
    return event * (CHUNKS - 2) + last


def _post(url: str, body: bytes) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, body, method="POST"), timeout=30):
        pass


def _run_ms(*arguments: str) -> tuple[float, float]:
    """Return the wall time and the CPU time of Python with `arguments`, from start to end."""
    times, cpu = [], []
    for _ in range(HELP_RUNS):
        begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append((time.perf_counter() - begun) * 1000)
        cpu.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
    return statistics.median(times), statistics.median(cpu)


def _pid(stack: Stack, module: str) -> int:
    return child_named(read_run_file(stack.home).pid, module)


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def _median_gap(ones: list[float], others: list[float]) -> float:
    return statistics.median(one - other for one, other in zip(ones, others, strict=True))


def _quantile(values: list[float], share: float) -> float:
    """Return the value that `share` of `values` do not exceed; nan without values."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else math.nan


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    main()
