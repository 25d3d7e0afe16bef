"""stepdown: an OpenAI-API gateway whose answers move from the giant to a specialist you own."""

__version__ = "0.1.0"
