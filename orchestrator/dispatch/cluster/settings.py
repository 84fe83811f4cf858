"""How a worker keeps time, and what its process ends with when it must not go on."""

from __future__ import annotations

from dataclasses import dataclass

EXIT_FENCED = 70
"""The exit code of a worker that found its work taken over: nothing that it still says may count."""
EXIT_STUCK = 71
"""The exit code of a worker whose event loop stood still: its jobs are another's by now."""


@dataclass(frozen=True, slots=True)
class WorkerTimes:
    """Seconds. A worker without a heartbeat for `timeout_s` is dead: its jobs are given to others.

    `grace_s` is how long a stopping worker lets its jobs run on before it cancels them. `sweep_s` apart, over the whole
    cluster, lost work is looked for. Each worker asks for work and for cancellations every `poll_s`, beside being told
    of them at once, and every `tick_s` whether there is a dead worker.
    """

    heartbeat_s: float = 5.0
    timeout_s: float = 20.0
    grace_s: float = 30.0
    sweep_s: float = 30.0
    poll_s: float = 1.0
    tick_s: float = 0.5

    def __post_init__(self) -> None:
        if min(self.heartbeat_s, self.sweep_s, self.poll_s, self.tick_s) <= 0 or self.grace_s < 0:
            raise ValueError("times of a worker are above 0 s")
        if self.timeout_s < 2 * self.heartbeat_s:
            raise ValueError("the timeout is at least two heartbeats: one may be late on a busy machine")
