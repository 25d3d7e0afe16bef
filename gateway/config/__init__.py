"""Names and files of the configuration, turned into extensions and typed values."""
