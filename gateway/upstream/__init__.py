"""Calling the teacher."""
