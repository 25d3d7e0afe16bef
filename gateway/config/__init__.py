"""Names and files of the configuration, turned into modules and typed values."""
