"""Load tests: each is a command that prints its figures as JSON and as a table."""
