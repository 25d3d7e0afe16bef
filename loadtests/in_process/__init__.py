"""The gateway and its learner in one process, for runs over many seeds."""

from loadtests.in_process.gateway import audit_key, open_gateway
from loadtests.in_process.remembered import TrainingMemory
from loadtests.in_process.stored_vectors import StoredEncoder

__all__ = ["StoredEncoder", "TrainingMemory", "audit_key", "open_gateway"]
