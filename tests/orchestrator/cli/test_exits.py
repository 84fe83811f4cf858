"""One table maps failures to exit codes; each name in it is a real class, and each code has its case."""

from __future__ import annotations

from importlib import import_module

import click
import pytest

from orchestrator.cli.exits import (
    FAILURES,
    STATUSES,
    Exit,
    Interrupted,
    NothingSelected,
    Terminated,
    Unusable,
    cause_of,
    exit_of,
    exit_of_run,
)
from orchestrator.errors import NoProvider, PlanError, RunNotFound, TaskTimedOut
from orchestrator.events import RunStatus
from personas import PersonaError
from providers.budgets import BudgetRef
from providers.documents.problems import SpecError, variable_problem
from providers.errors import (
    AllAttemptsFailed,
    AuthFailed,
    BudgetSpent,
    CatalogError,
    NoRoute,
    Overloaded,
    Reason,
    ReasonCode,
    Unreachable,
)


def why(code: str) -> Reason:
    return Reason(ReasonCode(code), "in words")


@pytest.mark.parametrize("name", FAILURES)
def test_each_name_in_the_table_is_a_class(name):
    module, _, cls = name.rpartition(".")
    assert issubclass(getattr(import_module(module), cls), BaseException)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecError([]), 1),
        (PlanError([]), 1),
        (CatalogError([]), 1),
        (click.UsageError("x"), 2),
        (Unusable("x"), 2),
        (ZeroDivisionError(), 3),
        (PersonaError([]), 1),
        (NoProvider({"groq": "no key: set GROQ_API_KEY"}), 4),
        (CatalogError([variable_problem("GROQ_API_KEY", "the value holds control characters")]), 4),
        (AuthFailed("x"), 4),
        (AllAttemptsFailed("x", [AuthFailed("a"), AuthFailed("b")]), 4),
        (NoRoute({"a/b": why("no_key"), "c/*": why("not_configured")}), 4),
        (NoRoute({"a/b": why("no_key"), "c/d": why("breaker")}), 8),
        (NoRoute({"a/b": why("key_refused"), "c/d": why("no_money")}), 4),
        (NoRoute({"a/b": why("no_money")}), 8),
        (NoRoute({"a/monkey": why("not_configured")}), 8),
        (NothingSelected("x"), 5),
        (RunNotFound("x"), 5),
        (BudgetSpent(BudgetRef("squad"), "max_cost", 1, 1, 1), 6),
        (TaskTimedOut("x"), 6),
        (Overloaded("x"), 8),
        (AllAttemptsFailed("x", [AuthFailed("a"), Unreachable("b")]), 8),
        (NoRoute({"a/b": why("breaker")}), 8),
        (NoRoute({}), 8),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (Interrupted(), 130),
        (BrokenPipeError(), 130),
        (Terminated(), 143),
    ],
)
def test_failures(error, code):
    assert exit_of(error) == code


def test_every_status_of_a_run_has_a_code():
    assert set(STATUSES) == set(RunStatus.__args__)


@pytest.mark.parametrize(
    ("status", "kinds", "attempts", "code"),
    [
        ("done", [], ["RateLimited", None], 0),
        ("failed", ["OutputInvalid"], [None], 1),
        ("failed", ["OutputInvalid", "NoRoute"], [None], 1),
        ("failed", ["AllAttemptsFailed"], ["Overloaded", "AuthFailed"], 8),
        ("failed", ["AllAttemptsFailed"], ["AuthFailed"], 4),
        ("rejected", [], [], 1),
        ("paused", [], [], 6),
        ("stopped", ["BudgetSpent"], [], 6),
        ("waiting", [], [], 7),
        ("cancelled", [], [], 130),
    ],
)
def test_runs(status, kinds, attempts, code):
    assert exit_of_run(status, kinds, attempts) == code


def test_a_single_failure_is_taken_out_of_its_group():
    inner = AllAttemptsFailed("x", [AuthFailed("a")])
    assert cause_of(ExceptionGroup("tasks", [BaseExceptionGroup("more", [inner])])) is inner
    closed = BrokenPipeError()
    assert cause_of(ExceptionGroup("two who write", [closed, ExceptionGroup("", [BrokenPipeError()])])) is closed
    several = ExceptionGroup("tasks", [ValueError(), KeyError()])
    assert cause_of(several) is several
    assert exit_of(several) is Exit.INTERNAL


def test_an_interrupt_that_python_wrapped_is_an_interrupt():
    class Field:
        def __set_name__(self, owner: type, name: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises((RuntimeError, KeyboardInterrupt)) as failed:  # Python 3.12 no longer wraps it
        type("Event", (), {"field": Field()})
    assert exit_of(cause_of(failed.value)) is Exit.INTERRUPTED
    assert exit_of(cause_of(RuntimeError("x"))) is Exit.INTERNAL
