"""State that the machines of a fleet share through Valkey or Redis; see README.md."""
