"""stepdown: an OpenAI-API gateway that moves answers from the giant to a specialist you own."""

__version__ = "0.1.0"
