"""Ways to train a specialist: one module each, its file name is the name in the configuration."""
