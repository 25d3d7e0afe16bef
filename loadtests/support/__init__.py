"""The shared parts of several load tests: load, processes, clocks, figures."""
