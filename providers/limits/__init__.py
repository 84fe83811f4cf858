"""What providers and budgets allow, and what was used of it. Pure, but for `ledger/`, where counts are kept."""
