"""Workers, a database and a shared ledger around the routers of a simulation, and what they carry."""
