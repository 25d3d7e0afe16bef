"""Text generation in a child process: a base model with the adapters of many tasks."""
