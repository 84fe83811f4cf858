"""Which candidate answers a turn, and what follows from each attempt. Pure: `now` and dice are arguments."""
