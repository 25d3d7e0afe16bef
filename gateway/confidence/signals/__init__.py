"""Confidence signals of a draft, one per file; the file name is the name in a Deferral's weights."""
