"""The accounts that a run's tasks, sub-squads, agents and conversations are paid from, each opened once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents import RunContext
from orchestrator.run.accounts import AccountScope
from orchestrator.run.assignment import Assignment
from orchestrator.run.budget import Account, Paid, open_account
from orchestrator.run.work_clock import RunClock
from orchestrator.squad.elements import is_inside, squad_of, squads_around
from orchestrator.squad.plan import Budget, Plan, TaskPlan
from orchestrator.units import StepPath, Unit
from providers.budgets import BudgetRef

OpenShared = Callable[[str, BudgetRef, Budget, Callable[[Paid], bool]], Account]
"""Returns the account of a name that processes share."""


@dataclass(slots=True)
class UnitAccounts:
    """`paid` is what earlier processes of the run paid for: it is in each account whose work it was.

    Where several processes do the run's work, `shared` opens the accounts that more than one unit draws on.
    """

    clock: Callable[[], float]
    paid: Sequence[Paid]
    work_clock: RunClock
    shared: OpenShared | None = None
    _of_agents: dict[str, Account | None] = field(default_factory=dict)
    _of_tasks: dict[tuple[str, int], Account | None] = field(default_factory=dict)
    _of_squads: dict[str, Account | None] = field(default_factory=dict)

    def of_task(self, task: TaskPlan, given: Assignment, step: StepPath) -> Account | None:
        """A task's account spans all elements of its `for_each`; a revision has one of its own."""
        ref, unit = BudgetRef("task", task.id), given.unit
        if unit.key is None:
            return self.open(ref, task.budget, paid_below(unit, step), given.clock.waited)
        if (place := (task.id, unit.attempt)) not in self._of_tasks:
            is_its = _paid_by_elements(*place)
            self._of_tasks[place] = self._spanning(f"task {task.id}#{unit.attempt}", ref, task.budget, is_its)
        return self._of_tasks[place]

    def of_squads(self, inside: str | None, plan: Plan) -> list[Account | None]:
        """Return the accounts of the sub-squads around a task, the outermost first: each spans all work in it."""
        around = squads_around(inside)
        for scope in around:
            if scope not in self._of_squads:
                is_its, cap = _paid_in(scope), squad_of(plan, scope).budget
                self._of_squads[scope] = self._spanning(f"task {scope}", BudgetRef("task", scope), cap, is_its)
        return [self._of_squads[scope] for scope in around]

    def of_agent(self, agent: str, cap: Any) -> Account | None:
        """An agent's account spans all its work in the run."""
        if agent not in self._of_agents:
            is_its = _paid_to(agent)
            self._of_agents[agent] = self._spanning(f"agent {agent}", BudgetRef("agent", agent), cap, is_its)
        return self._of_agents[agent]

    def _spanning(self, name: str, ref: BudgetRef, cap: Any, is_its: Callable[[Paid], bool]) -> Account | None:
        """Open an account that many units draw on."""
        if cap is None or self.shared is None:
            return self.open(ref, cap, is_its, self.work_clock.waited)
        return self.shared(name, ref, cap, is_its)

    def open(
        self, ref: BudgetRef, cap: Any, is_its: Callable[[Paid], bool], waited: Callable[[], float]
    ) -> Account | None:
        """Open an account with a cap; None: there is no cap."""
        return None if cap is None else open_account(ref, cap, self.clock(), filter(is_its, self.paid), waited)


def with_account(ctx: RunContext, account: Account | None) -> RunContext:
    """Return the context of work that is paid from this account as well."""
    budgets: AccountScope = ctx.budgets  # type: ignore[assignment]  # the run hands every unit a scope of ours
    return ctx if account is None else ctx.at(budgets=budgets.within(account))


def paid_below(unit: Unit, step: StepPath) -> Callable[[Paid], bool]:
    """Return what tells whether a call was made at a place in the run or below it."""
    return lambda call: call.unit == unit and call.step[: len(step)] == step


def _paid_to(agent: str) -> Callable[[Paid], bool]:
    """Return what tells whether a call was made by an agent."""
    return lambda call: call.agent == agent


def _paid_in(scope: str) -> Callable[[Paid], bool]:
    """Return what tells whether a call was made by any task of a sub-squad."""
    return lambda call: call.unit is not None and is_inside(call.unit.task, scope)


def _paid_by_elements(task: str, attempt: int) -> Callable[[Paid], bool]:
    """Return what tells whether a call was made by any element of a task."""
    return lambda call: call.unit is not None and (call.unit.task, call.unit.attempt) == (task, attempt)
