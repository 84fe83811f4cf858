"""The journal in PostgreSQL: what a cluster uses. Loaded for a URL that names one."""
