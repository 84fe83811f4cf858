"""What all parts of the server work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.journal.protocols import Journal
from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.server.gateway.store import GatewayStore
from orchestrator.server.hosting import RunHost
from orchestrator.server.observation import Observation
from orchestrator.server.outlook import Outlooks
from orchestrator.server.watching import RunViews
from orchestrator.squad.load import Squad
from personas import Persona
from providers.client.manager import ProviderManager

if TYPE_CHECKING:  # it brings PostgreSQL's client, an extra
    from orchestrator.cluster.opening import ClusterDatabase


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server's. `squads` are those that it offers, by name. `mask` takes secrets out of what is shown.

    `keys` None: clients of the gateway need none. `clock` gives epoch seconds.
    """

    manager: ProviderManager
    journal: Journal
    host: RunHost
    squads: Mapping[str, Squad]
    personas: Mapping[str, Persona]
    keys: ClientKeys | None
    clock: Callable[[], float]
    mask: Callable[[str], str]
    folder: Path
    """The folder that keeps what the server keeps beside the journal."""
    store: GatewayStore
    offline: bool = False
    views: RunViews = field(default_factory=RunViews)
    """The runs that are looked at, as far as their records go."""
    watch: Observation = field(default_factory=Observation)
    """What is told to other software of what happens."""
    outlooks: Outlooks = field(default_factory=Outlooks)
    """What recorded traffic would come to under other weights."""
    cluster: ClusterDatabase | None = None
    """Whose workers do the runs' work; None: this process does it."""
