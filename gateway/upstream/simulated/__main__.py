"""`python -m gateway.upstream.simulated`."""

from gateway.upstream.simulated.server import main

if __name__ == "__main__":
    main()
