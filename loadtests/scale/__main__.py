"""How many replicas, cores, Valkey commands, GB and dollars a rate of requests takes.

`python -m loadtests.scale` computes them from `costs.toml`, where each measured figure has its command, by
a queueing model. `--check` measures one worker and two for half a minute, and says how well the model
predicts the two from the one; exit code 1 if it is more than 25 % off. `--valkey` counts what Valkey does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from loadtests.scale.check import IN_FLIGHT, Check, check_model
from loadtests.scale.costs import read_costs
from loadtests.scale.plan import Plan, Workload, plan_fleet

RATES = (10.0, 1_000.0, 10_000.0)
MOST_OFF = 0.25


def main() -> int:
    """Compute, or check, and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.scale", description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="requests per second, peak")
    parser.add_argument("--cores", type=int, default=4, help="of a replica, at most (4)")
    parser.add_argument("--check", action="store_true", help="measure the model against this machine")
    parser.add_argument("--valkey", action="store_true", help="measure what Valkey does for two machines")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement of --check (1)")
    parser.add_argument("--rounds", type=int, default=8, help="of --check (8)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    for field in msgspec.structs.fields(Workload):
        if field.type is float:
            flag = f"--{field.name.replace('_', '-')}"
            parser.add_argument(flag, type=float, default=field.default, help=f"({field.default:g})")
    options = parser.parse_args()

    if options.valkey:
        # Needs the extra `cluster` and a server, which the others do not.
        from loadtests.scale.commands import measure_commands

        commands = measure_commands(10 * options.seconds)
        _write(options.json, commands)
        print(msgspec.json.format(msgspec.json.encode(commands)).decode())
        return 0
    costs = read_costs()
    if options.check:
        with tempfile.TemporaryDirectory(prefix="stepdown-scale-") as folder:
            check = check_model(
                Path(folder), costs.shared_cache.value, seconds=options.seconds, rounds=options.rounds
            )
        _write(options.json, check)
        Console(width=110).print(_build_check_table(check))
        return int(check.error > MOST_OFF)
    given = {name: getattr(options, name) for name in Workload.__struct_fields__ if hasattr(options, name)}
    plans = [plan_fleet(rate, Workload(**given), costs, cores=options.cores) for rate in options.rates]
    _write(options.json, plans)
    Console(width=110).print(_build_table(plans))
    return 0


def _write(file: Path | None, figures: object) -> None:
    if file:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))


def _build_table(plans: list[Plan]) -> Table:
    table = Table("at the peak", *(f"{plan.requests_per_s:,.0f} requests/s" for plan in plans))
    for label, cells in {
        "replicas, one of them spare": [f"{plan.replicas}" for plan in plans],
        "workers per replica": [f"{plan.workers}" for plan in plans],
        "cores": [f"{plan.cores}" for plan in plans],
        "memory": [f"{plan.memory_gb:,.0f} GB" for plan in plans],
        "a worker is busy, one replica away": [f"{plan.busy:.0%}" for plan in plans],
        "p99 of the wait for it": [f"{plan.wait_p99_ms:.1f} ms" for plan in plans],
        "commands to Valkey per second": [f"{plan.valkey_commands_per_s:,.0f}" for plan in plans],
        "one core of Valkey is busy": [f"{plan.valkey_busy:.1%}" for plan in plans],
        "storage a day": [f"{plan.storage_gb_per_day:,.1f} GB" for plan in plans],
        "machines and disks, 30 days": [f"${plan.machines_usd:,.0f}" for plan in plans],
        "the teacher, 30 days": [f"${plan.teacher_usd:,.0f}" for plan in plans],
        "the teacher alone, without specialists": [f"${plan.teacher_only_usd:,.0f}" for plan in plans],
    }.items():
        table.add_row(label, *cells)
    return table


def _build_check_table(check: Check) -> Table:
    title = f"two workers, predicted from one (load {check.load_average:.1f})"
    table = Table("median over rounds", "one", "two: predicted", "measured", "off", title=title)
    for label, figure, form in (
        (f"requests/s, {IN_FLIGHT} at a time", check.requests_per_s, ",.0f"),
        ("p50 of these, ms", check.p50_ms, ".2f"),
        ("p50 of one at a time per worker, ms", check.alone_p50_ms, ".2f"),
    ):
        cells = (format(one, form) for one in (figure.one, figure.predicted, figure.measured))
        table.add_row(label, *cells, f"{figure.error:.0%}")
    table.add_row("requests/s, round by round", "", "", "", " ".join(f"{one:.0%}" for one in check.errors))
    table.add_row("refused by late workers", "", "", f"{check.refused_share:.1%}", "")
    table.add_row("bytes of a row beside its request", f"{check.row_bytes:,.0f}", "", "", "")
    return table


if __name__ == "__main__":
    sys.exit(main())
