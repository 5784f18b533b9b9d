"""What outlives the process: the key file, the journal of calls, the ledger in SQLite."""
