"""From a squad file to a plan: read, checked as a whole, every name bound."""
