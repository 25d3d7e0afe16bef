"""The whole gateway worker in virtual time, under a scheduler drawn from a seed."""
