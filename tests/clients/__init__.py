"""The official clients against a whole gateway: each a script which prints what it was given."""
