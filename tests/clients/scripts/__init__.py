"""One script a client; it prints what its client made of the gateway's answers."""
