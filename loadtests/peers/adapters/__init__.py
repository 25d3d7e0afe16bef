"""Gateways which can be measured, one file each: see `loadtests.peers.base.Adapter`."""
