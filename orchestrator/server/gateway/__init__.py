"""The gateway: agents, squads, tiers and models, asked in the dialects that clients of OpenAI and Anthropic speak."""
