"""Local models that draft answers: a client in the gateway, a host process, engines for generation."""
