"""Sources of base models: one module each; its file name is the scheme of an address."""
