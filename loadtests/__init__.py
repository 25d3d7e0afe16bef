"""Load tests: each a command which prints its figures as JSON and as a table."""
