"""Jobs of a cluster: a queue in PostgreSQL that any number of worker processes serve (the extra `cluster`)."""
