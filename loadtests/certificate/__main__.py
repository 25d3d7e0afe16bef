"""Whether the certificate keeps its promise in traffic that could fool it, and what that costs.

`python -m loadtests.certificate` runs every scenario over 200 draws and prints one table. Exit code 3
if a bar fails: a rate does when the lower end of its 95 % interval is above it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from loadtests.certificate.base import Row, Setting
from loadtests.certificate.scenarios import SCENARIOS
from loadtests.certificate.students import load_students

BAR_FAILED = 3
WIDTH = 110

_VERDICTS = {True: "yes", False: "NO", None: "-"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios, print the table, write `--json`."""
    options = _options().parse_args(arguments)
    students = load_students(options.data_folder, is_new=options.record)
    setting = Setting(students=students, seed=options.seed, draws=options.draws)
    began = time.monotonic()
    rows = run_scenarios(options.only or list(SCENARIOS), setting, options.jobs)
    print_rows(rows, setting, time.monotonic() - began)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)))
    return BAR_FAILED if any(row.holds is False for each in rows.values() for row in each) else 0


def run_scenarios(names: Sequence[str], setting: Setting, jobs: int = 1) -> dict[str, list[Row]]:
    """Return the rows of each scenario, `jobs` of them at a time."""
    if jobs == 1:
        return {name: _run(name, setting) for name in names}
    with ProcessPoolExecutor(jobs) as pool:
        return dict(zip(names, pool.map(_run, names, [setting] * len(names)), strict=True))


def print_rows(rows: Mapping[str, Sequence[Row]], setting: Setting, seconds: float) -> None:
    """Print one table, a block for each scenario."""
    table = Table(title=f"alpha 5 %, delta 10 %, {setting.draws} draws, seed {setting.seed}; {seconds:.0f} s")
    for column in ("scenario", "bar", "measured (95 % interval)", "holds"):
        table.add_column(column)
    for found in rows.values():
        for row in found:
            table.add_row(row.scenario, row.bar, row.measured, _VERDICTS[row.holds])
        table.add_section()
    Console(width=WIDTH).print(table)


def _run(name: str, setting: Setting) -> list[Row]:
    began = time.monotonic()
    rows = SCENARIOS[name](setting)
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return rows


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtests.certificate", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=200, help="simulated streams per scenario (200)")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="scenarios at a time (2)")
    parser.add_argument(
        "--data-folder", type=Path, help="folder of the data sets (what was fetched, else ../shared/data)"
    )
    parser.add_argument("--record", action="store_true", help="train and record the students again")
    parser.add_argument("--json", type=Path, help="write the rows here")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
