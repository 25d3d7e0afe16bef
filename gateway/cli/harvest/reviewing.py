"""`harvest review`: by keys in the terminal, or as JSON."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from gateway.cli import OK
from gateway.cli.harvest.keyboard import Keyboard
from gateway.cli.harvest.terminal_text import make_visible
from gateway.errors import ConfigError
from gateway.harvest.annotations import is_export, read_annotations
from gateway.processes.harvest_access import open_harvest
from gateway.processes.learner import limit_threads
from gateway.processes.reviewing import Item, Review, Ruling
from gateway.settings import Settings
from gateway.store.reviews import Verdict
from gateway.store.state import open_state
from gateway.store.task_lookup import find_recorded_task, name_apart

KEYS = "[1-9] this is right  [c]orrect  e[x]clude  [s]kip  [u]ndo  [q]uit"
_INTERRUPTS = ("q", "\x03", "\x04", "\x00", "")
"""NUL is what is read of a Ctrl-D that was typed while the terminal still waited for a line."""
_KEPT = "\n\t"


class _Given(NamedTuple):
    """A verdict of this dialog, and the place of its item."""

    place: int
    verdict: Verdict


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
            rulings = list(_read_rulings(arguments.apply))
            verdicts = session.decide(rulings)
            _say_excluded(rulings, verdicts)
            print(f"verdicts given: {_count_kinds(verdicts)}")
        elif arguments.json:
            # Standard output has the questions alone.
            print(json.dumps({"complaints_without_text": session.count_lost()}), file=sys.stderr)
            for item in session.list_items()[: arguments.limit]:
                print(msgspec.json.encode(item).decode())
        else:
            print("comparing the answers with those of students that have not seen them ...", file=sys.stderr)
            keyboard, names = Keyboard(), name_apart(state, session.tasks)
            items = session.list_items()[: arguments.limit]
            if lost := session.count_lost():
                print(f"complaints whose request is remembered no more: {lost:,}")
            run_dialog(session, items, keyboard.read_key, keyboard.read_line, names.__getitem__)
    return OK


def run_dialog(
    session: Review,
    items: Sequence[Item],
    read_key: Callable[[], str],
    read_line: Callable[[], str],
    name_of: Callable[[str], str] = str,
) -> None:
    """Ask about `items` one by one until the last, or until the reviewer quits.

    What was decided is kept at once. `name_of` takes the id of a task.
    """
    if not items:
        print("nothing to review")
        return
    place, given = 0, list[_Given]()
    try:
        while place < len(items):
            item = items[place]
            _show(item, f"{place + 1} of {len(items)}  {make_visible(name_of(item.task))}")
            key, ruling = _ask(item, read_key, read_line)
            if key in _INTERRUPTS:
                break
            if key == "u":
                place = _undo(session, given, place)
            elif ruling is None:
                place += 1
            elif verdict := _decide(session, ruling):
                given.append(_Given(place, verdict))
                place += 1
    except KeyboardInterrupt:
        pass
    print(f"\nverdicts given: {len(given)}, left: {len(items) - place}")


def _ask(item: Item, read_key: Callable[[], str], read_line: Callable[[], str]) -> tuple[str, Ruling | None]:
    """Return the first key that says something, and the ruling if it makes one."""
    print(f"\n{KEYS}", flush=True)
    while True:
        key = read_key()
        if key == "t":
            _show_all(item)
        elif ruling := _read_ruling(item, key, read_line):
            return key, ruling
        elif key in _INTERRUPTS or key in ("s", "u"):
            return key, None


def _decide(session: Review, ruling: Ruling) -> Verdict | None:
    try:
        verdicts = session.decide([ruling])
    except ConfigError as exc:
        print(f"not taken: {exc}")
        return None
    _say_excluded([ruling], verdicts)
    return verdicts[0]


def _say_excluded(rulings: Sequence[Ruling], verdicts: Sequence[Verdict]) -> None:
    """Say which answers a verdict excludes that a reviewer gave as right ones."""
    given = {ruling.request_id for ruling in rulings if not ruling.exclude}
    for verdict in verdicts:
        if verdict.kind == "exclude" and verdict.request_id in given:
            print(f"excluded: the answer to {verdict.request_id} holds private data, so it is not learnt")


def _undo(session: Review, given: list[_Given], place: int) -> int:
    """Take back what was decided last here, never what another reviewer decided; return where to go on."""
    if not given:
        print("nothing was decided yet")
        return place
    last = given.pop()
    session.undo(last.verdict)
    return last.place


def _show(item: Item, where: str) -> None:
    """Print the question, as much of each text as leaves the keys in sight."""
    columns, rows = shutil.get_terminal_size()
    room = max(4, rows - 10)
    each = max(2, room // (1 + len(item.candidates)))
    print(f"\n{where}\n\n{_fit(item.text, columns, each)}\n")
    for number, candidate in enumerate(item.candidates, start=1):
        print(f"  {number}) {_fit(candidate, columns, each, indent=5)}")


def _show_all(item: Item) -> None:
    print(f"\n{make_visible(item.text, _KEPT)}\n")
    for number, candidate in enumerate(item.candidates, start=1):
        print(f"  {number}) {make_visible(candidate, _KEPT)}")
    print(f"\n{KEYS}", flush=True)


def _fit(text: str, columns: int, rows: int, *, indent: int = 0) -> str:
    """Return so much of `text` as takes `rows` lines of a terminal, and how much is missing.

    Its lines begin after `indent` columns, the first of them where the cursor is.
    """
    room = max(columns - indent, 1)
    lines = [
        piece
        for line in make_visible(text[: room * rows], _KEPT).expandtabs(4).split("\n")
        for piece in textwrap.wrap(line, room, replace_whitespace=False) or [""]
    ]
    is_whole = len(text) <= room * rows and len(lines) <= rows
    missing = [] if is_whole else [f"... {len(text):,} characters, [t] shows all"]
    return ("\n" + " " * indent).join(lines[:rows] + missing)


def _read_ruling(item: Item, key: str, read_line: Callable[[], str]) -> Ruling | None:
    """Return what the key says of `item`; None if it says nothing."""
    if key == "x":
        return Ruling(item.request_id, exclude=True)
    if key == "c":
        print("the right answer (empty to go back):", flush=True)
        answer = _read_answer(read_line)
        if not answer:
            print(KEYS, flush=True)
        return Ruling(item.request_id, answer) if answer else None
    if key in "123456789" and key and int(key) <= len(item.candidates):
        return Ruling(item.request_id, item.candidates[int(key) - 1])
    return None


def _read_answer(read_line: Callable[[], str]) -> str:
    try:
        answer = read_line().strip()
    except ValueError as exc:
        print(f"not taken: {exc}")
        return ""
    if answer != make_visible(answer, _KEPT):
        # Arrow keys in a line: the terminal passes them on, and they would be learnt as part of the answer.
        print("not taken: it holds keys that are no letters; type it without arrows")
        return ""
    return answer


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
