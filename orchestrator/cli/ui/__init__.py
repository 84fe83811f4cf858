"""What the terminal shows: results, progress, questions to a person."""
