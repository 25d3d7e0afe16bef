"""The Chat Completions API as data."""
