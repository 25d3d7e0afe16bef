"""Deciding who answers."""
