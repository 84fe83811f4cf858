"""What ends a test before its cases say anything."""

from __future__ import annotations

from orchestrator.errors import OrchestratorError


class CaseUnusable(OrchestratorError):
    """A case cannot be run or checked as things are. `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
