"""One script per client; it prints what its client received from the gateway."""
