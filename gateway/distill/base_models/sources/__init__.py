"""Where base models come from: one module each, its file name is the scheme of an address."""
