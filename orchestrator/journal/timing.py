"""How a process bears with a journal on a server, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterTiming:
    """How long a process waits for a database that is away, and how long others wait for the process.

    What fails there is tried again for `retry_s`; None: for as long as it takes, as a worker does that has a paid
    answer to record. When the journal is closed, what waits is tried for `closing_s` longer at most. A transaction in
    which this process stands still for `stalled_s` is ended by the server. Who drives a run says so every
    `heartbeat_s`; another process may take the run over after `lease_s` of silence.
    """

    retry_s: float | None = 10.0
    closing_s: float = 10.0
    stalled_s: float = 5.0
    heartbeat_s: float = 5.0
    lease_s: float = 20.0
