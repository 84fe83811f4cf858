"""Tools of MCP servers. The package `mcp` (the extra of that name) is loaded when a server is opened, not before."""
