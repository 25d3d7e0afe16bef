"""Ways to recognize a task, one per file; the file name is the name in configuration."""
