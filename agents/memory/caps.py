"""How much one record may hold. Pure."""

MOST_CHARS = 4000
"""Code points of its text: a record is a fact or a decision, not a document."""
