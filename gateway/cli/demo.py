"""Show the whole loop on a simulated teacher; needs no key."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--traffic",
        type=Path,
        metavar="FILE.jsonl",
        help='send your own traffic: one {"messages": [...], "answer": "..."} per line',
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    from rich.console import Console

    from gateway.demo.run import run_demo

    return run_demo(arguments.traffic, Console())
