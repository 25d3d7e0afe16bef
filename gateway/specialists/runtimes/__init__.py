"""Runtimes of specialists, one file or folder each; its name is the manifest's `runtime`."""
