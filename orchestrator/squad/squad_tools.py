"""The built-in tools of a squad: at work in its folder, those of a sub-squad in the workspace that its file names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from agents.file_origins import OF_SQUAD, FileOrigins
from agents.paths import Protected
from agents.run_folder import RunFolder, origins_of
from agents.toolbox import builtin
from agents.toolbox.workspace import Workspace
from agents.tools import Registry, Tool
from orchestrator.squad.elements import people_of
from orchestrator.squad.plan import Plan


@dataclass(frozen=True, slots=True)
class SquadTools:
    """`own` are those of the squad, and of each sub-squad that has no workspace."""

    own: Registry
    within: Mapping[str, Registry] = field(default_factory=dict)
    """By the sub-squad whose workspace it is."""

    def plus(self, *tools: Tool) -> SquadTools:
        """Return these tools with more, wherever they work."""
        return SquadTools(self.own.plus(*tools), {scope: one.plus(*tools) for scope, one in self.within.items()})

    def without(self, *names: str) -> SquadTools:
        """Return these tools without those of such names."""
        return SquadTools(self.own.without(*names), {scope: one.without(*names) for scope, one in self.within.items()})

    def of(self, scope: str | None) -> Registry:
        """Return the tools of what belongs to a sub-squad, or to the squad: None."""
        scope = people_of(scope)
        while scope:
            if scope in self.within:
                return self.within[scope]
            scope = scope.rpartition(".")[0]
        return self.own


def workspaces_in(plan: Plan, own: Workspace | None) -> dict[str, Workspace]:
    """Return the workspaces of the sub-squads, by the tasks that these are, and the squad's own: by ""."""
    named = {people_of(name) or name: squad.workspace for name, squad in plan.squads.items()}
    return {name: one for name, one in (*named.items(), ("", own)) if one is not None}


def squad_tools(
    workspaces: Mapping[str, Workspace],
    home: Path,
    files: RunFolder | None,
    protected: Protected | None = None,
    origins: FileOrigins | None = None,
) -> SquadTools:
    """Return the tools of a run that writes into `files`, of a squad whose file stands in `home`.

    What `protected` names is never written in a workspace. Those that are one folder, or hold the same files, know
    together whose words these are, and edit them one by one: `origins` is what the run knows of that.
    """
    if not workspaces:
        return SquadTools(builtin(files))
    shared = next(iter(workspaces.values()))
    known = origins_of(files) if origins is None else origins
    shared = replace(shared, protected=protected or shared.protected, origins=known)
    own = workspaces.get("")
    around = (*(() if own is None else ((own.name, own.root),)), (OF_SQUAD, home.resolve()))
    made = {
        scope: builtin(files, replace(shared, root=one.root, can_write=one.can_write, within=around if scope else ()))
        for scope, one in workspaces.items()
    }
    return SquadTools(made.pop("") if own is not None else builtin(files), made)
