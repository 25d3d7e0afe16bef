"""Kinds of teachers; the file name is the name in configuration."""
