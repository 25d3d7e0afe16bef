"""`python -m gateway.demo.teacher`."""

from gateway.demo.teacher.server import main

if __name__ == "__main__":
    main()
