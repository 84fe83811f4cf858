"""One run: its events, the state folded from them, and what drives it."""
