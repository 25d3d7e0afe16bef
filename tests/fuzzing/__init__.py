"""Rules that hold for any input: Hypothesis looks for one that breaks them.

A few examples each, always the same, in every run of the tests; `HYPOTHESIS_PROFILE=soak` looks for new ones.
"""
