"""What time it is, as a tool: a recorded step like any call, so a replay is told the time that was."""

from __future__ import annotations

from datetime import UTC, datetime

from agents.tools import Tool, tool


def clock_tools() -> tuple[Tool, ...]:
    """Return `now`."""

    @tool(idempotent=True, risk="read_only", repeatable=True)
    def now(timezone: str = "UTC") -> str:
        """Return the date, the time and the day of the week in a time zone: Europe/Berlin"""
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # only a call needs it

        try:
            zone = UTC if timezone.upper() in ("UTC", "Z") else ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {timezone!r}; write UTC, or a name as Europe/Berlin") from None
        at = datetime.now(zone)
        return f"{at.isoformat(timespec='seconds')} {at:%A}"

    return (now,)
