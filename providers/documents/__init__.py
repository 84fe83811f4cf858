"""Text that people write, and what is wrong with it: YAML, Unicode, quantities, problems with their place."""
