"""The command line: results on stdout, console on stderr. Nothing here is imported before it is used."""
