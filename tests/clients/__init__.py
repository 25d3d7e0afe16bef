"""The official clients against a whole gateway: each is a script that prints what it received."""
