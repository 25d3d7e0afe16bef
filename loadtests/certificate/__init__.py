"""The certificate in traffic that could fool it, simulated with the project's own functions."""
