"""`python -m gateway.demo.teacher` serves a simulated teacher."""

from gateway.demo.teacher.server import main

if __name__ == "__main__":
    main()
