"""The cancellation by which a worker that ends cuts what is left."""

from __future__ import annotations

import asyncio

_STOPPING = "the gateway is stopping"


def cancel_to_stop(task: asyncio.Task[None]) -> None:
    """Cancel `task` so that it can still tell its client."""
    task.cancel(_STOPPING)


def take_back_stop(exc: asyncio.CancelledError) -> bool:
    """Return whether `exc` is such a cancellation, and take it back in the current task.

    The caller then says why the answer ends, and ends by itself.
    """
    task = asyncio.current_task()
    if task is None or exc.args != (_STOPPING,):
        return False
    task.uncancel()
    return True
