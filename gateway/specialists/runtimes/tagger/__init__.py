"""The runtime `tagger`: answers made from what an encoder says of each word of an input."""

from gateway.specialists.runtimes.tagger.runtime import create

__all__ = ["create"]
