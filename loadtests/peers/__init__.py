"""Stepdown beside a direct call and other gateways: the same teacher, load and cores for each."""
