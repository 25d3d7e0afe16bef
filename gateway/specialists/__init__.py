"""Local models which draft answers, in a process of their own."""
