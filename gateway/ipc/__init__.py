"""Processes of one machine: how they start, stop and exchange messages."""
