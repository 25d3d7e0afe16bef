"""State which outlives a process: SQLite on this machine."""
