"""One HTTP exchange: reading the request's body, writing the answer."""
