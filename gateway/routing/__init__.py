"""Naming the task of a request."""
