"""Whether the ledger equals the bill, with a teacher that keeps the true one."""
