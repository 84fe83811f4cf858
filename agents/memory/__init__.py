"""What agents remember over runs: records with their source and trust, found by their words."""
