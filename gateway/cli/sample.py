"""Judge local answers blindly, beside the teacher's to the same requests."""

from __future__ import annotations

import argparse
import os
import textwrap
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.cli import OK, add_watch, read_count

if TYPE_CHECKING:
    from gateway.api.admin.models import SampleItem, WholeReview
    from gateway.processes.blind_sample import BlindSample

WIDTH = 80
_SHOWN_CHARS = 800


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="show requests with two answers, not whose they are")
    listing.add_argument("--task", help="only of this task, by its id or name")
    listing.add_argument(
        "--whole",
        action="store_true",
        help="a random part of the sample, agreements too (judge these same or neither), to be judged whole",
    )
    listing.add_argument("--last", type=read_count, default=10, metavar="N", help="so many (10)")
    judge = actions.add_parser("judge", help="say which answer is right; then it is told whose it was")
    judge.add_argument("request_id", help="from `sample list`")
    judge.add_argument("choice", choices=("a", "b", "same", "neither"), help="the better answer")
    stats = actions.add_parser("stats", help="of each task: the sample, and what people said")
    add_watch(stats)
    for action in (listing, judge, stats):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """List, judge or count."""
    from gateway.processes.blind_sample import BlindSample
    from gateway.processes.harvest_access import open_harvest
    from gateway.settings import read_settings
    from gateway.store.state import open_state
    from gateway.store.task_lookup import find_task

    settings = read_settings(os.environ)
    with open_state(settings.home) as state:
        if arguments.action == "list" and arguments.task:
            arguments.task = find_task(state, arguments.task)
        sample = BlindSample(state, open_harvest(settings))
        return {"list": _list, "judge": _judge, "stats": _count}[arguments.action](sample, arguments)


def _list(sample: BlindSample, arguments: argparse.Namespace) -> int:
    last = max(0, arguments.last)
    items = sample.list_items(arguments.task, time.time(), last, is_whole=arguments.whole)
    if arguments.json:
        return _print_json(items)
    for item in items:
        print("\n".join(_describe(item)))
    if not items:
        print("nothing to judge: no audit whose draft passed differs from the teacher's answer")
    return OK


def _judge(sample: BlindSample, arguments: argparse.Namespace) -> int:
    from gateway.store.audit_trail import name_local_actor

    verdict = sample.judge(arguments.request_id, arguments.choice, name_local_actor(), time.time())
    if arguments.json:
        return _print_json({"request_id": arguments.request_id, "verdict": verdict})
    print(f"noted: {verdict}")
    return OK


def _count(sample: BlindSample, arguments: argparse.Namespace) -> int:
    counts = sample.count_all(time.time())
    if arguments.json:
        return _print_json(counts)
    print(f"{'task':32}{'sample':>8}{'agreed':>8}{'local':>7}{'teacher':>9}{'same':>6}{'waiting':>9}")
    for one in counts:
        print(
            f"{one.name:31.31} {one.sampled:>8,}{one.agreed:>8,}{one.local:>7,}{one.teacher:>9,}"
            f"{one.same + one.neither:>6,}{one.waiting:>9,}"
        )
        if one.whole:
            print(_describe_whole(one.whole))
    return OK


def _describe_whole(whole: WholeReview) -> str:
    if whole.judged < whole.size:
        return f"  of {whole.size} to be judged whole {whole.judged} are: `sample list --whole`"
    sides = (
        ("specialist", whole.local_wrong, whole.local_interval),
        ("teacher", whole.teacher_wrong, whole.teacher_interval),
    )
    said = (
        f"{side} {wrong / whole.size:.1%} ({low:.1%} to {high:.1%})" for side, wrong, (low, high) in sides
    )
    return f"  wrong, as people judged {whole.size} of them: {', '.join(said)}"


def _describe(item: SampleItem) -> Iterator[str]:
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(item.at))
    yield f"{item.request_id}  {item.name}  {at}"[:WIDTH]
    for label, text in (("asked", item.text), ("a", item.a), ("b", item.b)):
        shown = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]} ..."
        plain = "".join(letter if letter.isprintable() else " " for letter in shown)
        yield from textwrap.wrap(plain, WIDTH, initial_indent=f"  {label:6}", subsequent_indent=" " * 8)
    yield ""


def _print_json(value: object) -> int:
    import msgspec

    print(msgspec.json.encode(value).decode())
    return OK
