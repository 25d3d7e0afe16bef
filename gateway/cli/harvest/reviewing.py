"""`harvest review`: by keys in the terminal, or as JSON."""

from __future__ import annotations

import argparse
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from gateway.cli import OK
from gateway.errors import ConfigError
from gateway.harvest.annotations import is_export, read_annotations
from gateway.processes.harvest_access import open_harvest
from gateway.processes.learner import limit_threads
from gateway.processes.reviewing import Item, Review, Ruling
from gateway.settings import Settings
from gateway.store.reviews import Verdict
from gateway.store.state import open_state
from gateway.store.task_lookup import find_recorded_task

KEYS = "[1-9] this is right  [c]orrect  e[x]clude  [s]kip  [u]ndo  [q]uit"
_INTERRUPTS = ("q", "\x03", "\x04", "")


def review(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show what waits and take what is said of it; see `Review`."""
    limit_threads()
    with open_state(settings.home) as state:
        known = open_harvest(settings).counts()
        tasks = [find_recorded_task(state, task, known) for task in arguments.task or ()]
        session = Review(settings, state, tasks)
        if arguments.undo:
            print(_describe_undone(session.undo()))
        elif arguments.apply:
            verdicts = session.decide(list(_read_rulings(arguments.apply)))
            print(f"verdicts given: {_count_kinds(verdicts)}")
        elif arguments.json:
            for item in session.list_items()[: arguments.limit]:
                print(msgspec.json.encode(item).decode())
        else:
            print("comparing the answers with those of students that have not seen them ...", file=sys.stderr)
            run_dialog(session, session.list_items()[: arguments.limit], _read_key, input)
    return OK


def run_dialog(
    session: Review, items: Sequence[Item], read_key: Callable[[], str], read_line: Callable[[], str]
) -> None:
    """Ask about `items` one by one until the last, or until the reviewer quits.

    What was decided is kept at once.
    """
    place = 0
    given: list[int] = []
    while place < len(items):
        item = items[place]
        print(f"\n{place + 1} of {len(items)}  {item.task}\n\n{item.text}\n")
        for number, candidate in enumerate(item.candidates, start=1):
            print(f"  {number}) {candidate}")
        print(f"\n{KEYS}", flush=True)
        key = read_key()
        if key in _INTERRUPTS:
            break
        if key == "u":
            if given:
                session.undo()
                place = given.pop()
            continue
        if key == "s":
            place += 1
        elif ruling := _read_ruling(item, key, read_line):
            session.decide([ruling])
            given.append(place)
            place += 1
    print(f"\nverdicts given: {len(given)}, left: {len(items) - place}" if items else "nothing to review")


def _read_ruling(item: Item, key: str, read_line: Callable[[], str]) -> Ruling | None:
    """Return what the key says of `item`; None if it says nothing."""
    if key == "x":
        return Ruling(item.request_id, exclude=True)
    if key == "c":
        print("the right answer (empty to go back):", flush=True)
        answer = read_line().strip()
        return Ruling(item.request_id, answer) if answer else None
    if key.isdecimal() and 1 <= int(key) <= len(item.candidates):
        return Ruling(item.request_id, item.candidates[int(key) - 1])
    return None


def _read_key() -> str:
    """Return the next key without waiting for the end of a line; a line's first letter without a terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline()[:1]
    saved = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        return sys.stdin.read(1)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def _read_rulings(path: Path) -> Iterator[Ruling]:
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"--apply {path}: {exc.strerror}") from exc
    if is_export(content):
        yield from (Ruling(one.request_id, one.answer) for one in read_annotations(content))
        return
    lines = content.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                yield msgspec.json.decode(line, type=Ruling)
        except msgspec.MsgspecError as exc:
            raise ConfigError(f"{path}:{number}: {exc}") from exc


def _count_kinds(verdicts: Sequence[Verdict]) -> str:
    kinds = [verdict.kind for verdict in verdicts]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("accept", "correct", "exclude"))


def _describe_undone(verdict: Verdict | None) -> str:
    return f"taken back: {verdict.kind} {verdict.request_id}" if verdict else "no verdict to take back"
