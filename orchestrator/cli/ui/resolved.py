"""A plan as a document: what a squad file comes to, for `config`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from agents.tools import Tool
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import Budget, Plan
from orchestrator.squad.termination import Termination, written
from personas.sandbox import ExpressionText

UNSAID: tuple[Any, ...] = (None, (), {}, "")


def resolved_document(squad: Squad, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the whole plan as plain data. Durations are seconds, money is USD, the secrets of `environ` are masked."""
    plan = squad.outline()
    document = {"schema_version": 1, **_fields(plan)}
    document["routing"] = {"strategy": squad.policy.strategy, "tiers": squad.policy.tiers}
    plain: dict[str, Any] = _masked(_plain(document), environ)
    return plain


def _masked(value: Any, environ: Mapping[str, str]) -> Any:
    match value:
        case str():
            return mask_secrets(value, environ)
        case dict():
            return {key: _masked(inner, environ) for key, inner in value.items()}
        case list():
            return [_masked(inner, environ) for inner in value]
    return value


def _plain(value: Any) -> Any:
    match value:
        case str():
            return value
        case ExpressionText():
            return value.source
        case Tool():
            return value.name if value.approval == "never" else {"name": value.name, "approval": value.approval}
        case Budget():
            cost = None if value.max_cost is None else value.max_cost / 1e6
            return _plain({**_fields(value), **({} if cost is None else {"max_cost": cost})})
        case _ if isinstance(value, Termination):
            return _plain(written(value))
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case set() | frozenset():
            return sorted(_plain(inner) for inner in value)
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _plain(_fields(value))
    return value if isinstance(value, int | float | None) else str(value)


def _fields(value: Any) -> dict[str, Any]:
    """Return a dataclass's fields that are not empty. A task's work is keyed by its kind."""
    named = {f.name: getattr(value, f.name) for f in fields(value) if not f.name.startswith("_")}
    found = {name: inner for name, inner in named.items() if inner not in UNSAID and name != "position"}
    if isinstance(value, Plan):
        return found
    work = found.pop("work", None)
    if work is not None:
        found["work"] = {type(work).__name__: work}
    return found
