"""Ways to compare an answer with the teacher's; `agreement` in a policy names one by its file name."""
