"""How long a test waits for what must come."""

from __future__ import annotations

PATIENCE_S = 120.0
"""Much longer than anything takes, even where ten processes share a core: only what never comes waits so long."""
