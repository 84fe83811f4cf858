"""The command line: results on stdout, talk on stderr. Nothing here is imported before it is used."""
