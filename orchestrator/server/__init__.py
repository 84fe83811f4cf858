"""The server: an OpenAI-compatible gateway, a JSON API and a dashboard on one port. An extra: `[server]`."""
