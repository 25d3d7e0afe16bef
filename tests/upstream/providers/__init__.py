"""Tests of gateway.upstream.providers."""
