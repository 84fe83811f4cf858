"""Who can answer a turn, and getting an answer: messages, catalog, policy, routing, adapters, transport.

from providers import open_manager, user
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from providers.catalog.file import load_catalog
    from providers.catalog.model import Catalog
    from providers.client.manager import ProviderManager, open_manager
    from providers.errors import (
        AllAttemptsFailed,
        BudgetSpent,
        CatalogError,
        NoRoute,
        ProviderError,
        RoutingError,
    )
    from providers.messages import Message, Needs, Request, Response, Usage, assistant, system, user
    from providers.policy.model import Policy
    from providers.policy.parse import default_policy, parse_policy

_HOMES = {
    "AllAttemptsFailed": "errors",
    "assistant": "messages",
    "BudgetSpent": "errors",
    "Catalog": "catalog.model",
    "CatalogError": "errors",
    "default_policy": "policy.parse",
    "load_catalog": "catalog.file",
    "Message": "messages",
    "Needs": "messages",
    "NoRoute": "errors",
    "open_manager": "client.manager",
    "parse_policy": "policy.parse",
    "Policy": "policy.model",
    "ProviderError": "errors",
    "ProviderManager": "client.manager",
    "Request": "messages",
    "Response": "messages",
    "RoutingError": "errors",
    "system": "messages",
    "Usage": "messages",
    "user": "messages",
}

__all__ = [
    "AllAttemptsFailed",
    "BudgetSpent",
    "Catalog",
    "CatalogError",
    "Message",
    "Needs",
    "NoRoute",
    "Policy",
    "ProviderError",
    "ProviderManager",
    "Request",
    "Response",
    "RoutingError",
    "Usage",
    "assistant",
    "default_policy",
    "load_catalog",
    "open_manager",
    "parse_policy",
    "system",
    "user",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: importing the package loads nothing else."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
