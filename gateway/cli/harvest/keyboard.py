"""What a reviewer types: single keys, and lines."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty

_LONGEST_LINE_BYTES = 4_000
"""A terminal cuts a line at 4,095 bytes and says nothing."""
_MARK_PASTES, _LEAVE_PASTES = "\x1b[?2004h", "\x1b[?2004l"
"""Asks a terminal to put marks around what is pasted (xterm's control sequences, "bracketed paste")."""
_PASTE_BEGINS, _PASTE_ENDS = b"\x1b[200~", b"\x1b[201~"
_REST_OF_A_KEY_S = 0.05
"""An arrow or a function key comes as several bytes at once."""


class Keyboard:
    """Standard input, as keys where it is a terminal, else as lines whose first letter counts.

    Bytes are read one at a time: what was typed ahead of a question is there for the next one.
    """

    def read_key(self) -> str:
        """Return the next key without waiting for the end of a line; empty at the end of the input."""
        if not sys.stdin.isatty():
            return sys.stdin.buffer.readline().decode("utf-8", "replace")[:1]
        terminal = sys.stdin.fileno()
        saved = termios.tcgetattr(terminal)
        try:
            tty.setcbreak(terminal, termios.TCSADRAIN)
            key = os.read(terminal, 1)
            if key == b"\x1b":
                _read_rest_of_key(terminal)
            return key.decode("latin-1")
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, saved)

    def read_line(self) -> str:
        """Return a line, or the lines that were pasted into it; empty at the end of the input.

        Raises ValueError for what is no answer.
        """
        line = sys.stdin.buffer.readline() if not sys.stdin.isatty() else _read_typed_line()
        if len(max(line.split(b"\n"), key=len)) > _LONGEST_LINE_BYTES and sys.stdin.isatty():
            raise ValueError("a terminal cuts so long a line: give the answer with --apply FILE")
        try:
            return line.decode()
        except UnicodeDecodeError as exc:
            raise ValueError("not UTF-8") from exc


def _read_rest_of_key(terminal: int) -> None:
    """Read what follows an escape: `[`, parameters and a final byte, or `O` and one, or one (ECMA-48)."""
    kind = _read_if_there(terminal)
    if kind == b"O":
        _read_if_there(terminal)
    while kind == b"[" and (more := _read_if_there(terminal)) and not b"@" <= more <= b"~":
        pass


def _read_if_there(terminal: int) -> bytes:
    is_there = select.select([terminal], [], [], _REST_OF_A_KEY_S)[0]
    return os.read(terminal, 1) if is_there else b""


def _read_typed_line() -> bytes:
    """Return what is typed up to the end of a line that no paste holds.

    Without marks the lines of a paste after its first would be taken as keys: verdicts on other requests.
    """
    typed = b""
    _tell_terminal(_MARK_PASTES)
    try:
        while (letter := os.read(sys.stdin.fileno(), 1)) and not (letter == b"\n" and _is_whole(typed)):
            typed += letter
    finally:
        _tell_terminal(_LEAVE_PASTES)
    return typed.replace(_PASTE_BEGINS, b"").replace(_PASTE_ENDS, b"")


def _is_whole(typed: bytes) -> bool:
    return typed.count(_PASTE_BEGINS) <= typed.count(_PASTE_ENDS)


def _tell_terminal(sequence: str) -> None:
    if sys.stdout.isatty():
        print(sequence, end="", flush=True)
