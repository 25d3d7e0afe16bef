"""The runtime `tagger`: answers built from spans of the input, found by an encoder that tags its words."""

from gateway.specialists.runtimes.tagger.runtime import create

__all__ = ["create"]
