"""What several load tests share: load, processes, clocks, figures."""
