"""The runtime `head`: a linear classifier over sentence features, for tasks with a few fixed answers."""

from gateway.specialists.runtimes.head.runtime import create

__all__ = ["create"]
