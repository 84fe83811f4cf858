"""Projects of other frameworks as squads: read as data, never run."""
