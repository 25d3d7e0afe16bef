"""What the harvest takes: `python -m loadtests.harvest [--rows 1000000]`.

Rows of about 1 KB of varying text: the time that `put` takes the event loop, rows per second that become
durable with and without redaction, an export, the move to parts in a folder, and SQL over them. CPU time
is given beside wall time, because other work on the machine moves only the latter. `--pairs N` compares
what clients wait for instead: gateways that harvest, with and without redaction, and one that keeps nothing,
in front of teachers that take 5 ms, N times in turn.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from gateway.core import PrivateKind
from gateway.demo.stack import Stack
from gateway.harvest.base import Row
from gateway.harvest.formats import openai
from gateway.harvest.outbox import Config, Outbox
from gateway.harvest.parts.compaction import Compactor
from gateway.harvest.parts.manifests import ManifestLog
from gateway.harvest.parts.query import query_parts
from gateway.harvest.parts.reader import PartsAndOutboxReader
from gateway.harvest.parts.shipping import Shipper
from gateway.harvest.reader import HarvestReader
from gateway.store.object_storage import LocalFolder
from gateway.wire.private_data import KINDS
from loadtests.support.fleet import http_requests
from loadtests.support.generator import Generator, Job

PIECE = 20_000
"""Rows at once: as many as an outbox holds."""
TASKS, DAYS = 5, 5
TEMPLATE = "You sort the mails of customers into one of these classes. " * 8
QUERIES = (
    "SELECT task, is_held_out, count(*) FROM rows GROUP BY ALL",
    "SELECT answer, count(*) FROM rows WHERE task = 'task-1' AND \"at\" > 86400 GROUP BY 1 ORDER BY 2 DESC",
    "SELECT count(DISTINCT request_id) FROM rows",
    "SELECT count(*) FROM rows WHERE text LIKE '%abcde%'",
)
LONG_TEMPLATE = TEMPLATE * 115
"""50 KB."""
LONG_ROWS = 2_000
PROXIED = 1_000
LATENCY_MS, AT_ONCE = 5.0, 4
"""Of the teacher; some 600 requests a second."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement beside its bar; `is_good` without one."""

    name: str
    value: float
    unit: str
    cpu: float | None = None
    bar: str = ""
    is_good: bool = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 3 if a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.harvest", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="in parts, for SQL (100,000)")
    parser.add_argument("--pairs", type=int, default=0, help="of runs with and without a harvest")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    figures = []
    with tempfile.TemporaryDirectory(prefix="stepdown-harvest-") as folder:
        measured = _measure_proxied(options.pairs) if options.pairs else _measure(Path(folder), options.rows)
        for figure in measured:
            figures.append(figure)
            print(_describe(figure), flush=True)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    return 0 if all(figure.is_good for figure in figures) else 3


def _measure(folder: Path, most: int) -> Iterator[Figure]:
    rows = [_row(number, with_private=True) for number in range(PIECE)]
    plain = [msgspec.structs.replace(row, private_kinds=()) for row in rows]
    yield _measure_put(folder / "put", plain)
    yield _measure_durable("durable, redaction off", folder / "plain", plain, 20_000)
    yield _measure_durable("durable, every kind redacted", folder / "redacted", rows, 3_000)
    yield _measure_long("row with a prompt of 50 KB", folder / "long", rows, ())
    yield _measure_long("the same, every kind redacted", folder / "long-redacted", rows, tuple(KINDS))
    yield _measure_export(folder / "plain")
    yield from _measure_parts(folder / "parts", most)


def _measure_proxied(pairs: int) -> Iterator[Figure]:
    """Compare the p99 of proxied requests; the median of pairs, as single ones differ by other programs."""
    requests = http_requests(TEMPLATE, [_row(number, with_private=True).text for number in range(PROXIED)])
    with tempfile.TemporaryDirectory() as folder, Generator() as generator, ExitStack() as stack:
        kinds = (("", "[]", "false"), ("redaction off", "[]", "true"), ("every kind redacted", "all", "true"))
        ports = {}
        for name, redact, is_kept in kinds:
            policies = Path(folder) / (name or "none")
            policies.mkdir()
            (policies / "all.yaml").write_text(f"policies: [{{name: all, redact: {redact}}}]")
            environment = {"STEPDOWN_LEARN_ENABLED": "false", "STEPDOWN_HARVEST_ENABLED": is_kept}
            gateway = Stack(latency_ms=LATENCY_MS, policies=policies, environment=environment)
            ports[name] = urlsplit(stack.enter_context(gateway).gateway_url).port or 0
        rounds = [
            {name: _p99_ms(generator, ports[name], requests) for name in order}
            for order in [list(ports), list(ports)[::-1]] * ((pairs + 1) // 2)
        ]
    for name in list(ports)[1:]:
        ratio = statistics.median(each[name] / each[""] for each in rounds)
        text = f"proxied p99, {name}"
        yield Figure(name=text, value=ratio, unit="x without", bar="1.05", is_good=ratio <= 1.05)


def _p99_ms(generator: Generator, port: int, requests: Sequence[bytes]) -> float:
    result = generator.run(Job(port=port, requests=list(requests), in_flight=AT_ONCE, count=len(requests)))
    latencies = [ms for some in result.latencies_ms.values() for ms in some]
    return statistics.quantiles(latencies, n=100)[98]


def _measure_put(folder: Path, rows: Sequence[Row]) -> Figure:
    box, times = Outbox(folder / "worker-0.db", Config(linger_s=3_600.0)), []
    for row in rows[:2_000]:
        begun = time.perf_counter()
        box.put(row)
        times.append((time.perf_counter() - begun) * 1e6)
    box.close()
    middle = statistics.median(times)
    return Figure(name="put, p50", value=middle, unit="us", bar="30", is_good=middle <= 30)


def _measure_durable(name: str, folder: Path, rows: Sequence[Row], bar: int) -> Figure:
    box = Outbox(folder / "worker-0.db", Config(max_queue_mb=1_024))

    def write() -> None:
        for row in rows:
            box.put(row)
        box.flush()

    seconds, cpu = _time(write)
    box.close()
    rate = len(rows) / seconds
    return Figure(
        name=name, value=rate, unit="rows/s", cpu=len(rows) / cpu, bar=f"{bar:,}", is_good=rate >= bar
    )


def _measure_long(name: str, folder: Path, rows: Sequence[Row], kinds: tuple[PrivateKind, ...]) -> Figure:
    """Measure what loop and writer take together for a row of a long template."""
    box = Outbox(folder / "worker-0.db", Config(max_queue_mb=1_024))
    # Each with its own copy of the template, as requests have.
    given = [
        msgspec.structs.replace(
            row,
            template_text=LONG_TEMPLATE[:-1] + ".",
            messages=_messages(LONG_TEMPLATE[:-1] + ".", row.text),
            private_kinds=kinds,
        )
        for row in rows[:LONG_ROWS]
    ]

    def write() -> None:
        for row in given:
            box.put(row)
        box.flush()

    seconds, cpu = (value / LONG_ROWS * 1e6 for value in _time(write))
    box.close()
    return Figure(name=name, value=seconds, unit="us", cpu=cpu, bar="300", is_good=seconds <= 300)


def _measure_export(folder: Path) -> Figure:
    reader = HarvestReader(folder)

    def export() -> None:
        for task in reader.counts():
            openai.write(reader.rows(task).rows, io.BytesIO(), with_held_out=True)

    seconds, cpu = _time(export)
    return Figure(
        name=f"export of {PIECE:,} rows", value=seconds, unit="s", cpu=cpu, bar="2", is_good=seconds <= 2
    )


def _measure_parts(folder: Path, most: int) -> Iterator[Figure]:
    harvest, storage = folder / "harvest", LocalFolder(folder / "parts")
    box, log = Outbox(harvest / "worker-0.db", Config(max_queue_mb=1_024)), ManifestLog(storage)
    shipper, compactor = Shipper(harvest, log), Compactor(log, "loadtest")
    seconds = cpu = 0.0
    for start in range(0, most, PIECE):
        for number in range(start, min(start + PIECE, most)):
            box.put(_row(number))
        box.flush()
        took = _time(lambda: (shipper.ship_all(), compactor.compact()))
        seconds, cpu = seconds + took[0], cpu + took[1]
    box.close()
    yield Figure(name=f"{most:,} rows to parts", value=most / seconds, unit="rows/s", cpu=most / cpu)
    reader = PartsAndOutboxReader(harvest, ManifestLog(storage))
    for sql in QUERIES:
        took = _time(lambda sql=sql: query_parts(reader, storage, sql))  # type: ignore[misc]
        yield Figure(name=sql, value=took[0], unit="s", cpu=took[1], bar="1", is_good=took[0] <= 1)


def _time(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall and the CPU time of `work`, in seconds."""
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - cpu


def _row(number: int, *, with_private: bool = False) -> Row:
    draw = random.Random(number)
    text = " ".join(f"{draw.getrandbits(20):x}" for _ in range(75))
    if with_private and number % 10 == 0:
        text += " reach me at jane.doe@example.org or +49 170 1234567"
    return Row(
        request_id=f"{draw.getrandbits(128):032x}",
        at=number * (DAYS * 86_400.0 / 1_000_000),
        task=f"task-{number % TASKS}",
        match="fingerprint",
        model="gpt-4o",
        template="feed",
        template_text=TEMPLATE,
        contract_hash="beef",
        text=text,
        answer=f"class_{number % 77}",
        messages=_messages(TEMPLATE, text),
        is_held_out=number % 10 == 0,
        propensity=0.1,
        private_kinds=tuple(KINDS) if with_private else (),
    )


def _messages(template: str, text: str) -> bytes:
    return json.dumps([{"role": "system", "content": template}, {"role": "user", "content": text}]).encode()


def _describe(figure: Figure) -> str:
    cpu = "" if figure.cpu is None else f"  ({figure.cpu:,.2f} by CPU time)"
    bar = f"  bar {figure.bar}{'' if figure.is_good else '  MISSED'}" if figure.bar else ""
    return f"{figure.name:<42.42}{figure.value:>12,.2f} {figure.unit}{cpu}{bar}"


if __name__ == "__main__":
    raise SystemExit(main())
