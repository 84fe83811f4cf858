"""What happened, keyed by meaning: the record of runs, in memory or in SQLite."""
