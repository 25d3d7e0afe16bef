"""State that outlives a process: SQLite and small files on this machine."""
