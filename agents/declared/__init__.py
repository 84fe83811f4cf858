"""Tools that a file declares: Python functions, commands, URLs. Each module makes a `Tool` of one kind."""
