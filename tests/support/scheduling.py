"""Which tests share a process when pytest-xdist runs them on every core, and which come first."""

from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parents[1]
LEARN = "learn"

# Whole gateways and models that need minutes: were they last, the other cores would have nothing left to
# do. Below tests/, dearest first.
DEAR = ("flow", "faults", "loadtests", "processes", "clients", "distill", "simulation", "contracts")


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Keeps a file in one process, for its fixtures, and so all files that train; in the order collected.

    xdist's own `loadgroup` writes the group into a test's id, where pytest 9.2 no longer reads it: it then
    groups nothing and says nothing (pytest-xdist issue 1386).
    """

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # the files with most tests first; most of them are cheap

    def _split_scope(self, nodeid: str) -> str:
        return group_of(self.config.rootpath / nodeid.split("::", 1)[0])


@cache
def group_of(file: Path) -> str:
    """The name of what shares a process with `file`.

    All that train are one group: torch uses every core, and two of it on few cores wait for each other.
    They are told by their text, since the process that distributes tests does not import them.
    """
    return LEARN if "pytest.mark.learn" in file.read_text() else str(file)


@cache
def place_of(file: Path) -> int:
    """The place of `file` in a run: what trains, then what is dear, then the rest."""
    if group_of(file) == LEARN:
        return 0
    room = file.relative_to(TESTS).parts[0]
    return 1 + (DEAR.index(room) if room in DEAR else len(DEAR))
