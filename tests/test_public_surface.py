"""What users may import, pinned: a change here is a change of the contract."""

from __future__ import annotations

import importlib

import pytest

PACKAGES = ["orchestrator", "agents", "personas", "providers"]
PINNED = {
    "orchestrator": "AnswerEnded CannotWrite CodeNotTrusted CodeUse Event Exchange GateAnswered GateOpened Journal"
    " JournalError KeyUse"
    " NoProvider NotTrusted OrchestratorError Plan PlanError Problem ProblemsFound Run RunBusy"
    " RunCancelled RunChanged RunDelta RunNotFound RunOver RunResult Session SpecError SqliteJournal Squad"
    " StubAnswers Subject Subscriber ToolUnusable"
    " edit_of_run end_conversation environment_of fork_run open_journal open_run resume_run run_squad run_sync to_json"
    " trust_file",
    "agents": "Agent AgentError AgentPool AnswerCut CallDenied CallPlace Complete Deny Embedder History HookFailed"
    " Hooks LocalEmbedder McpFault McpHttpServer McpLimits McpStdioServer MemoryFull MemoryRecord MemoryStore"
    " MemoryUnusable OutputInvalid PathEscapes Registry"
    " RepeatStopped RiskyCallHeld RunContext Tool ToolContext ToolEnded ToolFault ToolProgress ToolStarted"
    " TurnEnded TurnLimit TurnStarted Untrusted WorkResult WorkStream create_balanced_agent_pool mcp_tools"
    " tool",
    "personas": "Persona PersonaError Personas Sandbox TemplateError first_of in_memory packaged",
    "providers": "AllAttemptsFailed AuthFailed BudgetSpent Capability Catalog CatalogError ContextTooLong"
    " Declined Embeddings Image Message ModelCalls Needs NoRoute OutputSchema Policy ProviderError"
    " ProviderManager RateLimited ReasoningDelta Request Response Restarted Resumed RoutingError"
    " ServerFault Text TextDelta TimedOut ToolCall ToolCallDelta ToolResult ToolSpec Unreachable"
    " Usage assistant default_policy load_catalog open_manager parse_policy system user",
}


@pytest.mark.parametrize("package", PACKAGES)
def test_each_public_name_is_listed_once_sorted_and_there(package: str) -> None:
    module = importlib.import_module(package)
    assert list(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)


@pytest.mark.parametrize("package", sorted(PINNED))
def test_the_surface_is_what_was_promised(package: str) -> None:
    assert importlib.import_module(package).__all__ == PINNED[package].split()


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error_that_names_it(package: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        importlib.import_module(package).no_such_name  # noqa: B018
