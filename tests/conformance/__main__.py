"""`python -m tests.conformance`: the table of checks, run against any gateway.

With several tables of `--json` instead of a gateway it prints them side by side as Markdown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.conformance.answers import usual
from tests.conformance.harness import Lab
from tests.conformance.ours import our_lab
from tests.conformance.report import Results, side_by_side
from tests.conformance.run import Result, run
from tests.conformance.table import all_checks
from tests.conformance.teacher import Teacher, teaching


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a check failed."""
    options = _options(arguments)
    if options.beside:
        print(side_by_side([msgspec.json.decode(path.read_bytes(), type=Results) for path in options.beside]))  # noqa: T201
        return 0
    results = list(_shown(_run(options), is_quiet=options.markdown))
    made = Results(options.name, [result.entry for result in results])
    if options.markdown:
        print(side_by_side([made]))  # noqa: T201
    if options.json:
        options.json.write_bytes(msgspec.json.encode(made))
    print("\n" + made.summary, file=sys.stderr)  # noqa: T201
    return 1 if made.count("fail") else 0


def _run(options: argparse.Namespace) -> Iterator[Result]:
    wanted = [one for one in all_checks() if not options.only or one.number in options.only]
    with teaching(usual, options.teacher_port) as teacher, _lab(options, teacher) as lab:
        yield from run(lab, wanted)


def _shown(results: Iterator[Result], *, is_quiet: bool) -> Iterator[Result]:
    for result in results:
        if not is_quiet:
            reason = f"  [{result.reason}]" if result.reason else ""
            print(f"{result.check.number:5}  {result.outcome:4}  {result.check.rule}{reason}", flush=True)  # noqa: T201
        yield result


@contextmanager
def _lab(options: argparse.Namespace, teacher: Teacher) -> Iterator[Lab]:
    if options.base_url:
        headers = dict(header.split(": ", 1) for header in options.header)
        if options.api_key:
            headers["authorization"] = f"Bearer {options.api_key}"
        yield Lab(
            options.base_url, teacher, headers, local=options.local_model, encoder=options.local_encoder
        )
        return
    with tempfile.TemporaryDirectory() as folder, our_lab(Path(folder) / "home", teacher) as lab:
        yield lab


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("beside", nargs="*", type=Path, help="results of --json, to be put side by side")
    parser.add_argument("--base-url", help="of the gateway, /v1 included; ours is started without it")
    parser.add_argument("--teacher-port", type=int, default=0, help="where the gateway expects OpenAI")
    parser.add_argument("--api-key", help="what the gateway wants to be sent as a key")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="to send along; may be repeated",
    )
    parser.add_argument("--local-model", help="a model which answers itself, as ours does in tests")
    parser.add_argument("--local-encoder", help="a model whose embeddings it makes itself")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="these checks")
    parser.add_argument("--name", default="stepdown", help="the gateway's, in tables")
    parser.add_argument("--markdown", action="store_true", help="print a table to be committed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results, too")
    options = parser.parse_args(arguments)
    if options.base_url and not options.teacher_port:
        parser.error("--base-url needs --teacher-port, to which the gateway is pointed")
    return options


if __name__ == "__main__":
    sys.exit(main())
