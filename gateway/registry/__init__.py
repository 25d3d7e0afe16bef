"""Model versions on disk: their files, hashes and origin."""
