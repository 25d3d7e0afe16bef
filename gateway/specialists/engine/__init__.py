"""Text generation in a child process: one base model with the adapters of many tasks."""
