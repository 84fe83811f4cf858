"""The kinds of tools that a file declares, a module each: what `read` makes of an entry that is written so."""
