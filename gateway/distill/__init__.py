"""Turning harvested answers of the teacher into certified specialists."""
