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
    from providers.embeddings import Embeddings
    from providers.errors import (
        AllAttemptsFailed,
        AuthFailed,
        BudgetSpent,
        CatalogError,
        ContextTooLong,
        Declined,
        NoRoute,
        ProviderError,
        RateLimited,
        RoutingError,
        ServerFault,
        TimedOut,
        Unreachable,
    )
    from providers.messages import (
        Capability,
        Image,
        Message,
        ModelCalls,
        Needs,
        OutputSchema,
        ReasoningDelta,
        Request,
        Response,
        Restarted,
        Resumed,
        Text,
        TextDelta,
        ToolCall,
        ToolCallDelta,
        ToolResult,
        ToolSpec,
        Usage,
        assistant,
        system,
        user,
    )
    from providers.policy.model import Policy
    from providers.policy.parse import default_policy, parse_policy

__all__ = [
    "AllAttemptsFailed",
    "AuthFailed",
    "BudgetSpent",
    "Capability",
    "Catalog",
    "CatalogError",
    "ContextTooLong",
    "Declined",
    "Embeddings",
    "Image",
    "Message",
    "ModelCalls",
    "Needs",
    "NoRoute",
    "OutputSchema",
    "Policy",
    "ProviderError",
    "ProviderManager",
    "RateLimited",
    "ReasoningDelta",
    "Request",
    "Response",
    "Restarted",
    "Resumed",
    "RoutingError",
    "ServerFault",
    "Text",
    "TextDelta",
    "TimedOut",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "ToolSpec",
    "Unreachable",
    "Usage",
    "assistant",
    "default_policy",
    "load_catalog",
    "open_manager",
    "parse_policy",
    "system",
    "user",
]

_HOMES = {
    "providers.catalog.file": ("load_catalog",),
    "providers.catalog.model": ("Catalog",),
    "providers.client.manager": ("ProviderManager", "open_manager"),
    "providers.embeddings": ("Embeddings",),
    "providers.errors": (
        "AllAttemptsFailed",
        "AuthFailed",
        "BudgetSpent",
        "CatalogError",
        "ContextTooLong",
        "Declined",
        "NoRoute",
        "ProviderError",
        "RateLimited",
        "RoutingError",
        "ServerFault",
        "TimedOut",
        "Unreachable",
    ),
    "providers.messages": (
        "Capability",
        "Image",
        "Message",
        "ModelCalls",
        "Needs",
        "OutputSchema",
        "ReasoningDelta",
        "Request",
        "Response",
        "Restarted",
        "Resumed",
        "Text",
        "TextDelta",
        "ToolCall",
        "ToolCallDelta",
        "ToolResult",
        "ToolSpec",
        "Usage",
        "assistant",
        "system",
        "user",
    ),
    "providers.policy.model": ("Policy",),
    "providers.policy.parse": ("default_policy", "parse_policy"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # to a type checker any name would be one of ours

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first asked for: importing the package loads nothing else."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
