"""`harvest review` in a real terminal of 80 columns: keys, lines, signals, and texts that mean it harm."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from gateway.harvest.outbox import Outbox
from gateway.processes.reviewing import Item
from gateway.settings import Settings
from gateway.store.state import State
from tests.distill.conftest import harvested
from tests.support.processes import ROOT, environment
from tests.support.waiting import PATIENCE_S

ROWS, COLUMNS = 24, 80
CALL = '<tool_call>\n{"name": "find", "arguments": {"id": 1}}\n</tool_call>'
TEXTS = {
    "plain": ("where is my card?", "card_arrival"),
    "harmful": (
        "clear\x1b[2J \x1b]0;title\x07 \u202egnp.exe \r over \x9b31m caf\u00e9 \u65e5\u672c",
        "\x1b[31mred",
    ),
    "long": ("word " * 12_000, "long_one"),
    "call": ("find number 1", CALL),
}


class Terminal:
    """A review at work, seen from the other end of its terminal."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self.shown = ""
        self._end = end

    def wait_for(self, words: str, times: int = 1) -> str:
        """Return all that was shown once `words` were, so often."""
        ends_at = time.monotonic() + PATIENCE_S
        while self.shown.count(words) < times:
            assert time.monotonic() < ends_at, f"no {words!r} in {self.shown[-2_000:]!r}"
            if not select.select([self._end], [], [], 1.0)[0]:
                continue
            try:
                self.shown += os.read(self._end, 65_536).decode("utf-8", "replace")
            except OSError as exc:  # the other end was closed
                assert self.shown.count(words) >= times, self.shown[-2_000:]
                raise AssertionError(self.shown[-2_000:]) from exc
        return self.shown

    def type(self, what: str | bytes) -> None:
        os.write(self._end, what.encode() if isinstance(what, str) else what)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def ends(self) -> int:
        return self.process.wait(PATIENCE_S)


def ask_about(settings: Settings, *names: str) -> str:
    """Harvest rows by these names; return a program that asks about them in a terminal of its own.

    What the command does beside it, looking for suspected errors, takes seconds.
    """
    box = Outbox(settings.home.worker_rows(0))
    for name in names:
        box.put(msgspec.structs.replace(harvested(*TEXTS[name]), request_id=name))
    box.close()
    items = [
        Item(request_id=name, task="task-1", source="feedback", text=text, candidates=(answer, "other"))
        for name, (text, answer) in ((name, TEXTS[name]) for name in names)
    ]
    return f"""
import fcntl, msgspec, signal, termios
from gateway.cli.harvest.keyboard import Keyboard
from gateway.cli.harvest.reviewing import run_dialog
from gateway.processes.reviewing import Item, Review
from gateway.settings import Settings
from gateway.store.state import open_state

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
# What runs in the background of a shell without a terminal ignores Ctrl-C, and so do its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings, keyboard = Settings(home_folder={settings.home_folder!r}), Keyboard()
items = msgspec.json.decode({msgspec.json.encode(items)!r}, type=list[Item])
with open_state(settings.home) as state:
    run_dialog(Review(settings, state), items, keyboard.read_key, keyboard.read_line)
"""


@contextmanager
def reviewing(settings: Settings, *names: str) -> Iterator[Terminal]:
    """Give a terminal in which a reviewer is asked about these rows; without any, by the command."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    program = ["-c", ask_about(settings, *names)] if names else ["-m", "gateway", "harvest", "review"]
    variables = {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **environment(Path(settings.home_folder))}
    # pytest-xdist gives its processes a width, which would hide that of the terminal.
    for name in ("COLUMNS", "LINES"):
        variables.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, *program],
        env=variables,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def decided(state: State) -> dict[str, str]:
    """Return the verdicts by request: their answer, or their kind."""
    return {one.request_id: one.answer or one.kind for one in state.reviews.verdicts("task-1")}


def test_keys_typed_ahead_choose_correct_and_take_back(settings: Settings, state: State) -> None:
    """A line typed at once with its key is that line: nothing of it waits in a buffer that no one reads."""
    with reviewing(settings, "plain", "call") as terminal:
        terminal.wait_for("[q]uit")
        terminal.type("\x1b[A\x1bOP~z9")  # arrows, function keys and others say nothing
        terminal.type("ccard_lost\n")
        terminal.wait_for("2 of 2")
        assert decided(state) == {"plain": "card_lost"}
        terminal.type("u")
        terminal.wait_for("1 of 2", times=2)
        assert decided(state) == {}
        terminal.type("xx")
        terminal.wait_for("verdicts given: 2, left: 0")
        assert terminal.ends() == 0
    assert decided(state) == {"plain": "exclude", "call": "exclude"}
    assert terminal.shown.count("1 of 2") == 2, "keys that say nothing do not print the question again"


def test_the_lines_of_a_pasted_answer_are_no_keys(settings: Settings, state: State) -> None:
    """A terminal marks what is pasted, once it is asked to; `x` would exclude what comes next."""
    with reviewing(settings, "plain", "call") as terminal:
        terminal.wait_for("[q]uit")
        terminal.type("c")
        terminal.wait_for("\x1b[?2004h")
        terminal.type("\x1b[200~card_lost\nx\n1\x1b[201~ now\n")
        terminal.wait_for("2 of 2")
        assert decided(state) == {"plain": "card_lost\nx\n1 now"}
        terminal.type("q")
        terminal.wait_for("verdicts given: 1, left: 1")
        assert terminal.ends() == 0
    assert terminal.shown.rindex("\x1b[?2004l") < terminal.shown.index("2 of 2")


def test_no_text_moves_the_cursor(settings: Settings, state: State) -> None:
    with reviewing(settings, "harmful") as terminal:
        shown = terminal.wait_for("[q]uit")
        terminal.type("tq")
        terminal.wait_for("verdicts given: 0, left: 1")
        assert terminal.ends() == 0
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(terminal.shown)
    assert "clear\\x1b[2J" in shown
    assert "caf\u00e9 \u65e5\u672c" in shown


def test_a_long_text_leaves_the_keys_in_sight_and_is_shown_whole_on_demand(
    settings: Settings, state: State
) -> None:
    with reviewing(settings, "long") as terminal:
        shown = terminal.wait_for("[q]uit")
        assert shown.count("\n") <= ROWS
        assert "60,000 characters, [t] shows all" in shown
        assert all(len(line.rstrip("\r")) <= COLUMNS for line in shown.split("\n")[1:])
        terminal.resize(40, 60)
        terminal.type("t")
        assert terminal.wait_for("[q]uit", times=2).count("word ") > 12_000
        terminal.type("u")
        again = terminal.wait_for("[q]uit", times=3)
        assert "nothing was decided yet" in again
        assert all(len(line) <= 61 for line in again[again.rindex("1 of 1") :].split("\n") if "word" in line)
        terminal.type("q")
        assert terminal.ends() == 0


def test_what_is_not_utf8_or_no_tool_call_is_not_taken(settings: Settings, state: State) -> None:
    with reviewing(settings, "call") as terminal:
        terminal.wait_for("[q]uit")
        terminal.type(b"\xff\xfec\xff\xfe\n")
        terminal.wait_for("not taken: not UTF-8")
        terminal.type("c" + "x" * 4_090 + "\n")
        terminal.wait_for("so long a line")
        terminal.type("c<tool_call>find</tool_call>\n")
        terminal.wait_for("no tool call; one looks like")
        assert decided(state) == {}
        terminal.type('c<tool_call>{"name": "find", "arguments": {"id": 2}}</tool_call>\n')
        terminal.wait_for("verdicts given: 1, left: 0")
    assert '"id": 2' in decided(state)["call"]


@pytest.mark.parametrize("typed", ["q", "\x03", "\x04", "c\x03", "c\x04q", "c\nq"])
def test_every_way_out_keeps_what_was_decided(settings: Settings, state: State, typed: str) -> None:
    """Quit, Ctrl-C and the end of the input, in a line too; the terminal is left as it was."""
    with reviewing(settings, "plain", "call") as terminal:
        terminal.wait_for("[q]uit")
        terminal.type("x")
        terminal.wait_for("2 of 2")
        for letter in typed:
            terminal.type(letter)
            if letter == "c":
                terminal.wait_for("empty to go back")
        terminal.wait_for("verdicts given: 1, left: 1")
        assert terminal.ends() == 0
    assert "Traceback" not in terminal.shown
    assert list(decided(state)) == ["plain"]


def test_a_terminal_that_is_closed_ends_it(settings: Settings, state: State) -> None:
    with reviewing(settings, "plain") as terminal:
        terminal.wait_for("[q]uit")
        os.kill(terminal.process.pid, signal.SIGHUP)
        assert terminal.ends() != 0
    assert decided(state) == {}


def test_an_empty_queue_says_so(settings: Settings, state: State) -> None:
    with reviewing(settings) as terminal:
        terminal.wait_for("nothing to review")
        assert terminal.ends() == 0
