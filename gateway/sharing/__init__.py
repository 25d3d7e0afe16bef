"""State that several machines share through Valkey; see "Many machines" in gateway/README.md."""
