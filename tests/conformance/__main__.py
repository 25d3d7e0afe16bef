"""`python -m tests.conformance` runs the table of checks against any gateway.

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

from tests.conformance.answers import default_play
from tests.conformance.harness import Harness
from tests.conformance.ours import our_harness
from tests.conformance.report import Results, compare_results
from tests.conformance.run import Result, run_checks
from tests.conformance.table import all_checks
from tests.conformance.teacher import Teacher, serve_teacher


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a check failed."""
    options = _options(arguments)
    if options.beside:
        tables = [msgspec.json.decode(path.read_bytes(), type=Results) for path in options.beside]
        print(compare_results(tables))  # noqa: T201
        return 0
    results = list(_shown(_run(options), is_quiet=options.markdown))
    finished = Results(options.name, [result.entry for result in results])
    if options.markdown:
        print(compare_results([finished]))  # noqa: T201
    if options.json:
        options.json.write_bytes(msgspec.json.encode(finished))
    print("\n" + finished.summary, file=sys.stderr)  # noqa: T201
    return 1 if finished.count("fail") else 0


def _run(options: argparse.Namespace) -> Iterator[Result]:
    wanted = [one for one in all_checks() if not options.only or one.number in options.only]
    with (
        serve_teacher(default_play, options.teacher_port) as teacher,
        _open_harness(options, teacher) as harness,
    ):
        yield from run_checks(harness, wanted)


def _shown(results: Iterator[Result], *, is_quiet: bool) -> Iterator[Result]:
    for result in results:
        if not is_quiet:
            reason = f"  [{result.reason}]" if result.reason else ""
            print(f"{result.check.number:5}  {result.outcome:4}  {result.check.rule}{reason}", flush=True)  # noqa: T201
        yield result


@contextmanager
def _open_harness(options: argparse.Namespace, teacher: Teacher) -> Iterator[Harness]:
    if options.base_url:
        headers = dict(header.split(": ", 1) for header in options.header)
        if options.api_key:
            headers["authorization"] = f"Bearer {options.api_key}"
        yield Harness(
            options.base_url,
            teacher,
            headers,
            local=options.local_model,
            encoder=options.local_encoder,
            own=_own_harness(options, teacher),
        )
        return
    transport = {"STEPDOWN_UPSTREAM_TRANSPORT": options.transport}
    with (
        tempfile.TemporaryDirectory() as folder,
        our_harness(Path(folder) / "home", teacher, **transport) as harness,
    ):
        yield harness


def _own_harness(options: argparse.Namespace, teacher: Teacher) -> Harness | None:
    if not options.own_base_url:
        return None
    return Harness(options.own_base_url, teacher, {"authorization": f"Bearer {options.own_api_key}"})


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("beside", nargs="*", type=Path, help="results of --json, to compare")
    parser.add_argument("--base-url", help="of the gateway, /v1 included; ours is started without it")
    parser.add_argument(
        "--transport", default="auto", choices=["auto", "own", "httpcore"], help="our engine to the teacher"
    )
    parser.add_argument("--teacher-port", type=int, default=0, help="where the gateway expects OpenAI")
    parser.add_argument("--api-key", help="the key that the gateway expects")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header to send along; may be repeated",
    )
    parser.add_argument("--local-model", help="a model that the gateway answers itself")
    parser.add_argument("--local-encoder", help="a model whose embeddings the gateway computes itself")
    parser.add_argument("--own-base-url", help="of the same gateway where it holds the teacher's key")
    parser.add_argument("--own-api-key", help="the key that it expects there")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="only these checks")
    parser.add_argument("--name", default="stepdown", help="the gateway's name in tables")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results")
    options = parser.parse_args(arguments)
    if options.base_url and not options.teacher_port:
        parser.error("--base-url needs --teacher-port, where the gateway expects OpenAI")
    return options


if __name__ == "__main__":
    sys.exit(main())
