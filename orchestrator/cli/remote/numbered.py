"""The events of a run's stream, from bytes in any pieces. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

MOST_BYTES = 64 << 20
"""Of one event."""


class StreamedEvent(NamedTuple):
    """`id` is empty for a word of the server's that is no event of the run. `number`: its id, where that is one."""

    id: str
    name: str
    data: Any

    @property
    def number(self) -> int | None:
        return int(self.id) if self.id.isdecimal() else None


class StreamUnreadable(ValueError):
    """What comes is no stream of such events."""


class NumberedEvents:
    """Turns bytes into events. One whose blank line has not come is none: it comes again after a break."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[StreamedEvent]:
        """Yield the events that `data` completes. Raise `StreamUnreadable`."""
        *whole, self._held = (self._held + data).split(b"\n\n")
        if len(self._held) > MOST_BYTES:
            raise StreamUnreadable(f"an event has more than {MOST_BYTES} bytes")
        for block in whole:
            fields = dict(line.partition(b":")[::2] for line in block.split(b"\n") if not line.startswith(b":"))
            if b"data" in fields:
                yield _event(
                    {name.decode("ascii", "replace"): text.removeprefix(b" ") for name, text in fields.items()}
                )


def _event(fields: dict[str, bytes]) -> StreamedEvent:
    ident = fields.get("id", b"").decode("utf-8", "replace")
    try:
        document = json.loads(fields["data"])
    except ValueError as error:
        raise StreamUnreadable(f"an event is not JSON: {error}") from None
    return StreamedEvent(ident, fields.get("event", b"").decode("ascii"), document)
