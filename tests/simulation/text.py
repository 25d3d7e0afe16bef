"""The questions of the simulation: each holds the number of its request."""


def question(number: int) -> str:
    """Return the text of a request."""
    return f"question {number}"


def number_of(text: str) -> int:
    """Return the number of the request with that text."""
    return int(text.rpartition(" ")[2])
