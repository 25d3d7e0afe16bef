"""The Responses API as data."""
