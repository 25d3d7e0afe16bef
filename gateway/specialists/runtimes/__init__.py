"""Engines which run a specialist, one file each; the file name is the configuration name."""
