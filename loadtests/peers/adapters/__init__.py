"""The gateways that can be measured, one file each: see `loadtests.peers.base.Adapter`."""
