"""Generating text token by token with a base model and the adapters which grew on it."""
