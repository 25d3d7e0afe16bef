"""A process that lowers its priority stands behind those of other sessions, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PRINT = """
import os
from pathlib import Path
from gateway.ipc.priority import lower_priority

lower_priority(7)
print(os.getpriority(os.PRIO_PROCESS, 0), Path("/proc/self/autogroup").read_text().split()[-1])
"""


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel groups no sessions")
def test_a_session_of_its_own_is_lowered_as_a_whole() -> None:
    """Niceness alone counts for nothing between two sessions."""
    printed = subprocess.run(
        [sys.executable, "-c", PRINT], start_new_session=True, capture_output=True, text=True, check=True
    ).stdout.split()

    assert printed[1] == "7"
    assert int(printed[0]) >= 7
