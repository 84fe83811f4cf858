"""OpenAI's Chat Completions, the dialect that most vendors speak."""
