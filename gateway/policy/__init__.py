"""Policies, the rules of who may do what: read from files at start-up, asked once per request."""
