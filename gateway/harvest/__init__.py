"""Escalations and audits kept as training data."""
