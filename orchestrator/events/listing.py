"""All types of events in reading order, and what most of their fields are. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agents import events as of_agents
from orchestrator.events import conversations, files, questions, runs, tasks
from providers import events as of_providers

SUBJECTS: Mapping[str, tuple[type, ...]] = {
    "The run": (
        runs.RunStarted,
        runs.RunResumed,
        runs.RunEdited,
        runs.RunForked,
        runs.RunFinished,
        runs.BudgetReached,
        runs.CallsCutShort,
        runs.CallRepeated,
        runs.RoutingReread,
    ),
    "Tasks": (
        tasks.TaskStarted,
        tasks.TaskEnded,
        tasks.TaskRetried,
        tasks.TaskRepeated,
        tasks.TaskReset,
        tasks.TaskParked,
        tasks.TaskResumed,
        tasks.TaskExpanded,
        tasks.ElementStarted,
        tasks.ElementEnded,
        tasks.AgentChosen,
        tasks.CaseChosen,
    ),
    "Conversations and chats": (
        conversations.MessageSpoken,
        conversations.ControlUnread,
        conversations.ConversationEnded,
        conversations.UserSaid,
        conversations.ExchangesUndone,
        conversations.ChatPartner,
    ),
    "Questions to people": (questions.GateOpened, questions.GateAnswered, questions.AnswerOverruled),
    "Files": (files.ArtifactWritten, files.FileWritten, files.FileKept, files.FileUnwritten, of_agents.FileOrigin),
    "Agents at work": (
        of_agents.TurnStarted,
        of_agents.TurnEnded,
        of_agents.ToolStarted,
        of_agents.ToolProgress,
        of_agents.ToolEnded,
        of_agents.RepeatStopped,
        of_agents.RiskyCallHeld,
        of_agents.GuardrailChecked,
        of_agents.HistoryFitted,
        of_agents.HistorySummarised,
        of_agents.ContextSummarised,
        of_agents.MemoryRecalled,
        of_agents.MemoryByWords,
        of_agents.KnowledgeRead,
        of_agents.TextsEmbedded,
    ),
    "Calls of providers": (
        of_providers.RouteChosen,
        of_providers.AttemptStarted,
        of_providers.AttemptEnded,
        of_providers.WaitingForProvider,
        of_providers.WaitingForBudget,
        of_providers.BudgetAlert,
    ),
    "Told to this process alone": (
        of_providers.AlertNotPosted,
        of_providers.LedgerLost,
        of_providers.LedgerRegained,
        of_providers.LedgerEmptied,
        of_providers.ProviderExchange,
    ),
}
UNRECORDED: frozenset[type] = frozenset({questions.AnswerOverruled, *SUBJECTS["Told to this process alone"]})
"""What `notify` is called with, and no run has in its record or among its events."""

FIELDS: Mapping[str, str] = {
    "account": "The number of the provider's key, from 1.",
    "agent": "The agent's name in the squad.",
    "call": "The number of the call in its turn, from 1.",
    "conversation": "The conversation's name in the squad.",
    "cost": "What was billed; none where a price is not known.",
    "error": "What went wrong, in words.",
    "error_kind": "The class of the error.",
    "key": "The key of an element of a `for_each`.",
    "model": "The model's name at its provider.",
    "name": "The tool's name.",
    "ms": "Milliseconds of wall time.",
    "path": "The file's path below the run's folder.",
    "provider": "The provider's name.",
    "reason": "Why, in words.",
    "run_id": "The run.",
    "sha256": "The SHA-256 of its bytes, in hex.",
    "size": "Bytes.",
    "squad": "The squad's name.",
    "status": "How it ended.",
    "stub": "Whether the offline stub answers: no model is asked.",
    "task": "The task's id in the squad.",
    "tasks": "Ids of tasks.",
    "turn": "The number of the call of a model in this piece of work, from 1.",
    "usage": "Tokens: `input_tokens`, `output_tokens`, and of these `cached_tokens` and `reasoning_tokens`.",
}
"""What a field is, where its own class does not say it."""
