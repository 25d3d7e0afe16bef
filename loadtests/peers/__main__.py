"""Measures stepdown, a direct call, nginx and every peer in a folder, side by side.

`python -m loadtests.peers --peers FOLDER` prints the tables. `--serve NAME --teacher-port P` starts one of
them in front of the teacher on that port, prints its base URL and the headers a client must send, and
serves until it is interrupted. How to install the peers: `loadtests/README.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
import threading
from pathlib import Path

import msgspec

from gateway.config.plugins import list_plugins
from loadtests.peers import ours
from loadtests.peers.base import AbsentError
from loadtests.peers.bench import Bench, Length
from loadtests.peers.figures import Report
from loadtests.peers.rounds import compare_gateways
from loadtests.peers.running import ADAPTERS, Running, pinned, running, running_teacher
from loadtests.peers.tables import format_tables
from loadtests.support.generator import Generator

DIRECT = "direct"
QUICK = Length(
    seconds=0.5, rounds=1, block=50, memory_requests=2_000, memory_s=3.0, open_chunks=4, open_every_ms=500
)


def main() -> None:
    """Measure, or serve."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.peers", description=__doc__)
    parser.add_argument("--peers", type=Path, help="the folder of installed peers")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each round under many requests")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure these and the direct call")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that everything works")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--serve", metavar="NAME", help="start this one and serve")
    parser.add_argument("--teacher-port", type=int, help="where its teacher listens")
    options = parser.parse_args()
    options.peers = options.peers and options.peers.absolute()
    if options.serve and not options.teacher_port:
        parser.error("--serve needs --teacher-port")

    with tempfile.TemporaryDirectory(prefix="stepdown-peers-") as folder:
        if options.serve:
            serve(options.serve, options.peers, options.teacher_port, Path(folder))
            return
        report = measure(options, Path(folder))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    print(format_tables(report))


def serve(name: str, peers: Path | None, teacher_port: int, scratch: Path) -> None:
    """Run one gateway until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    cores = os.sched_getaffinity(0)
    with running(name, peers=peers, scratch=scratch / name, teacher_port=teacher_port, cores=cores) as target:
        print(f"http://127.0.0.1:{target.port}/v1", flush=True)
        for header, value in target.headers:
            print(f"{header}: {value}", flush=True)
        stop.wait()


def measure(options: argparse.Namespace, scratch: Path) -> Report:
    """Return the figures of every gateway that is installed."""
    length = QUICK if options.quick else Length(seconds=options.seconds)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("loadtests.peers needs two cores: one for the gateway, one for its load")
    load_before = os.getloadavg()[0]
    skipped: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(pinned({cores[1]}))
        port, pid = stack.enter_context(running_teacher({cores[1]}))
        bench = Bench(stack.enter_context(Generator()), pid, length)
        targets = [Running(DIRECT, port)]
        for name in options.only or list_plugins(ADAPTERS):
            try:
                targets.append(
                    stack.enter_context(
                        running(
                            name,
                            peers=options.peers,
                            scratch=scratch / name,
                            teacher_port=port,
                            cores={cores[0]},
                        )
                    )
                )
            except AbsentError as exc:
                skipped[name] = str(exc)
        figures = compare_gateways(bench, targets)
    is_ours = not options.only or "stepdown" in options.only
    return Report(
        cores=(cores[0], cores[1]),
        load_average=(load_before, os.getloadavg()[0]),
        versions={target.name: target.plan.version for target in targets if target.plan},
        skipped=skipped,
        failures={name: dict(failed) for name, failed in bench.failed.items() if failed},
        figures=figures,
        workers=ours.compare_workers(scratch, length) if is_ours else None,
        start=ours.measure_start(scratch) if is_ours else None,
    )


if __name__ == "__main__":
    main()
